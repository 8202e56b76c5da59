// Runs lwIP's own test suites of TCP, pbufs and memory, except the tests named on the command line:
//   lwip_tests [TEST_TO_LEAVE_OUT...]
// A name that is no test is an error, so that the list can't rot. Each test runs in a process of its
// own (check forks), and a crash is its failure. Exit: 0, 1 (a test failed), 2 (an unknown name).

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/test_def.h"
#include "core/test_mem.h"
#include "core/test_pbuf.h"
#include "lwip/init.h"
#include "lwip/memp.h"
#include "lwip/stats.h"
#include "lwip/tcpip.h"
#include "lwip_check.h"
#include "tcp/test_tcp.h"
#include "tcp/test_tcp_oos.h"
#include "tcp/test_tcp_state.h"

enum { kMostLeftOut = 64 };

static char** left_out;
static int left_out_count;
static bool left_out_met[kMostLeftOut];

static bool is_left_out(const char* name) {
  for (int i = 0; i < left_out_count; ++i) {
    if (strcmp(left_out[i], name) == 0) {
      left_out_met[i] = true;
      return true;
    }
  }
  return false;
}

// What lwIP's suites call to make themselves.
Suite* create_suite(const char* name, testfunc* tests, size_t num_tests, SFun setup,
                    SFun teardown) {
  Suite* suite = suite_create(name);
  for (size_t i = 0; i < num_tests; ++i) {
    if (is_left_out(tests[i]->name)) continue;
    TCase* one = tcase_create(tests[i]->name);
    tcase_add_checked_fixture(one, setup, teardown);
    tcase_add_test(one, tests[i]);
    suite_add_tcase(suite, one);
  }
  return suite;
}

// What they call before and after each test; `skip` has a bit for each pool that isn't looked at.
void lwip_check_ensure_no_alloc(unsigned int skip) {
  if ((skip & SKIP_HEAP) == 0) ck_assert_uint_eq(lwip_stats.mem.used, 0);
  for (int pool = 0; pool < MEMP_MAX; ++pool) {
    if ((skip & SKIP_POOL(pool)) == 0) ck_assert_uint_eq(lwip_stats.memp[pool]->used, 0);
  }
}

#if NO_SYS
// Only TCP time stamps would ask, and ours are off.
u32_t sys_now(void) { return 0; }
#else
unsigned int lwip_port_rand(void) { return (unsigned int)rand(); }
#endif

int main(int argc, char** argv) {
  left_out = argv + 1;
  left_out_count = argc - 1;
  if (left_out_count > kMostLeftOut) return 2;

#if NO_SYS
  lwip_init();
#else
  tcpip_init(NULL, NULL);
#endif
  SRunner* runner = srunner_create(tcp_suite());
  srunner_add_suite(runner, tcp_oos_suite());
  srunner_add_suite(runner, tcp_state_suite());
  srunner_add_suite(runner, pbuf_suite());
  srunner_add_suite(runner, mem_suite());
  srunner_add_suite(runner, def_suite());
  for (int i = 0; i < left_out_count; ++i) {
    if (left_out_met[i]) continue;
    fprintf(stderr, "lwip_tests: lwIP has no test %s to leave out\n", left_out[i]);
    return 2;
  }

  srunner_run_all(runner, CK_NORMAL);
  const int failed = srunner_ntests_failed(runner);
  const int run = srunner_ntests_run(runner);
  srunner_free(runner);
  return failed == 0 && run > 0 ? 0 : 1;
}
