// Any bytes as a DNS message. What is read must be there again after it was written anew.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "wire/dns_rdata.h"
#include "wire/dns_writer.h"

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

void check_rewritten(const DnsMessage& message) {
  DnsWriter writer(message.header(), kDnsMaxMessageBytes);
  for (const auto& question : message.questions()) writer.question(question);
  struct Written {
    const DnsRecordView* view;
    std::vector<std::uint8_t> rdata;
  };
  std::vector<Written> written;
  for (const auto& view : message.records()) {
    if (view.type == DnsType::opt || view.klass != DnsClass::internet) continue;
    auto rdata = expand_rdata(message, view);
    if (!rdata) continue;
    if (!writer.record(view.section, view.owner, view.type, view.ttl_seconds, *rdata)) break;
    written.push_back({&view, std::move(*rdata)});
  }
  auto bytes = std::move(writer).finish();
  auto again = DnsMessage::parse(bytes);
  FUZZ_CHECK(again && again->trailing_bytes() == 0);
  FUZZ_CHECK(again->records().size() == written.size());
  for (std::size_t i = 0; i < written.size(); ++i) {
    const auto& view = again->records()[i];
    FUZZ_CHECK(view.owner.same_as(written[i].view->owner));
    FUZZ_CHECK(view.type == written[i].view->type);
    FUZZ_CHECK(view.ttl_seconds == written[i].view->ttl_seconds);
    auto rdata = expand_rdata(*again, view);
    // Compression may change the case of a name, and nothing else.
    FUZZ_CHECK(rdata && rdata->size() == written[i].rdata.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto message = DnsMessage::parse({data, size});
  if (!message) return 0;
  FUZZ_CHECK(message->records().size() <= DnsMessage::kMaxRecords);
  for (const auto& question : message->questions()) check_name(question.name);
  for (const auto& record : message->records()) check_name(record.owner);
  check_rewritten(*message);
  return 0;
}
