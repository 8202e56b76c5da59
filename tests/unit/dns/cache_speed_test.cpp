#include <time.h>

#include <catch2/catch.hpp>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsType;

namespace {

std::chrono::nanoseconds thread_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

TEST_CASE("a cached answer takes well under 20 microseconds") {
  dns::Hooks hooks;
  hooks.may_query = [](const dns::Lookup&) { return dns::LookupVerdict::allow; };
  hooks.on_answer = [](const dns::AnswerNotice&) { return std::vector<std::size_t>(); };
  DnsWorld world({}, hooks);
  world.add_upstream("192.0.2.1:53", [](const DnsMessage& query, Transport) {
    return ReplyBuilder(query)
        .alias("www.example.com", "cdn.example.net")
        .address("cdn.example.net", "198.51.100.1")
        .address("cdn.example.net", "198.51.100.2")
        .build();
  });
  world.ask("www.example.com", DnsType::a);
  auto query = make_query("www.example.com", DnsType::a, {.edns_bytes = 1232});
  dns::Client client{0, endpoint("10.0.0.2:40000"), endpoint("10.0.0.1:53")};
  constexpr int kQueries = 2000;
  std::size_t bytes = 0;
  auto best = std::chrono::nanoseconds::max();
  // The thread's own time, and the best of several rounds: other programs share the machine.
  for (int round = 0; round < 5; ++round) {
    auto start = thread_time();
    for (int i = 0; i < kQueries; ++i) {
      world.service->query(query, Transport::udp, client,
                           [&](Message reply) { bytes += reply.size(); });
    }
    best = std::min(best, thread_time() - start);
  }
  CHECK(bytes > 0);
  INFO("a cached answer takes " << best.count() / kQueries << " ns");
  CHECK(best / kQueries < 20us);
}
