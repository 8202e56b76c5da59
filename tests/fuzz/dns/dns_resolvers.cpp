// Any bytes as a resolv.conf, and as a resolver on the command line.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "check.h"
#include "dns/host_resolvers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  FUZZ_CHECK(dns::parse_resolv_conf(text).size() <= 8);
  if (auto resolver = dns::parse_resolver(text)) {
    FUZZ_CHECK(dns::parse_resolver(resolver->to_string()).value() == *resolver);
  }
  return 0;
}
