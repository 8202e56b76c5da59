// Random policies and questions out of a small world, in which they often meet: the compiled policy
// must agree with the slow walk. The input is no more than the seeds of those worlds, so this runs
// through as many as there is time for.

#include <cstdint>

#include "check.h"
#include "policy/world.h"

using namespace sluice;
using namespace sluice::policy;

namespace {

constexpr int kQuestions = 200;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ConstBytes input(data, size);
  for (; input.size() >= 4; input = input.subspan(4)) {
    World world(load_be32(input.data()));
    auto rules = world.rules();
    CompileOptions options;
    if (world.below(4) == 0) options.egress_default = Action::allow;
    if (world.below(4) == 0) options.ingress_default = Action::deny;
    auto policy = Policy::compile(rules, test_host(), options);
    FUZZ_CHECK(policy);
    Reference reference(rules, test_host(), options);
    NameIndex names;
    world.bind_some(names);
    for (int i = 0; i < kQuestions; ++i) {
      Query query = world.query(names);
      FUZZ_CHECK(agree(**policy, reference, query, world.domain()));
    }
  }
  return 0;
}
