// Any bytes as a container's journal and as its shim's status: refused, or read and written again
// the same.

#include <string_view>

#include "agent/container/spec.h"
#include "agent/container/status_file.h"
#include "check.h"

using namespace sluice;
using namespace sluice::agent;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto spec = parse_spec(text)) {
    FUZZ_CHECK(is_container_name(spec->id));
    std::string written = to_json(*spec);
    auto again = parse_spec(written);
    FUZZ_CHECK(again);
    FUZZ_CHECK(to_json(*again) == written);
  }
  if (auto status = parse_status(text)) {
    FUZZ_CHECK(status->pid >= 0);
    std::string written = to_json(*status);
    auto again = parse_status(written);
    FUZZ_CHECK(again);
    FUZZ_CHECK(to_json(*again) == written);
  }
  return 0;
}
