#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "check.h"
#include "wire/dns_message.h"
#include "wire/dns_rdata.h"
#include "wire/dns_writer.h"

namespace sluice::fuzz {

/// A message written anew from what was read of it, without the records that were left out.
struct Rewritten {
  struct Record {
    const wire::DnsRecordView* view;  ///< In the message that was read.
    std::vector<std::uint8_t> rdata;
  };
  std::vector<Record> records;
  std::vector<std::uint8_t> bytes;
};

/// `leaves_out`: of the types that are not written; nor are those of another class than IN, or with
/// data that can't be read.
template <typename LeavesOut>
Rewritten rewrite(const wire::DnsMessage& message, LeavesOut leaves_out) {
  Rewritten out;
  wire::DnsWriter writer(message.header(), wire::kDnsMaxMessageBytes);
  for (const auto& question : message.questions()) writer.question(question);
  for (const auto& view : message.records()) {
    if (leaves_out(view.type) || view.klass != wire::DnsClass::internet) continue;
    auto rdata = wire::expand_rdata(message, view);
    if (!rdata) continue;
    if (!writer.record(view.section, view.owner, view.type, view.ttl_seconds, *rdata)) break;
    out.records.push_back({&view, std::move(*rdata)});
  }
  out.bytes = std::move(writer).finish();
  return out;
}

/// What was written is there again, as it was.
inline wire::DnsMessage read_again(const Rewritten& written) {
  auto again = wire::DnsMessage::parse(written.bytes);
  FUZZ_CHECK(again && again->trailing_bytes() == 0);
  FUZZ_CHECK(again->records().size() == written.records.size());
  for (std::size_t i = 0; i < written.records.size(); ++i) {
    const auto& view = again->records()[i];
    const auto& record = written.records[i];
    FUZZ_CHECK(view.owner.same_as(record.view->owner));
    FUZZ_CHECK(view.type == record.view->type);
    FUZZ_CHECK(view.ttl_seconds == record.view->ttl_seconds);
    auto rdata = wire::expand_rdata(*again, view);
    // Compression may change the case of a name, and nothing else.
    FUZZ_CHECK(rdata && rdata->size() == record.rdata.size());
  }
  return *std::move(again);
}

}  // namespace sluice::fuzz
