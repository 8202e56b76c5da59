// Any bytes as a DNS message. What is read must be there again after it was written anew.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "dns/rewritten.h"

namespace {

using namespace sluice;
using namespace sluice::wire;

void check_name(const DnsName& name) {
  FUZZ_CHECK(name.wire().size() <= DnsName::kMaxBytes);
  auto bytes = name.wire();
  auto again =
      DnsName::read({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, 0);
  FUZZ_CHECK(again && again->name == name && again->end == bytes.size());
  FUZZ_CHECK(name.lowered().same_as(name) && name.is_in(name) && name.is_in(DnsName()));
  for (char c : name.to_string()) FUZZ_CHECK(c > ' ' && c <= '~');
  if (auto domain = name.domain()) FUZZ_CHECK(DnsName(*domain) == name.lowered());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto message = DnsMessage::parse({data, size});
  if (!message) return 0;
  FUZZ_CHECK(message->records().size() <= DnsMessage::kMaxRecords);
  for (const auto& question : message->questions()) check_name(question.name);
  for (const auto& record : message->records()) check_name(record.owner);
  fuzz::read_again(fuzz::rewrite(*message, [](DnsType type) { return type == DnsType::opt; }));
  return 0;
}
