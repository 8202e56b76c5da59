// Any lines as records and zones of the owner's: what is accepted is answered in bounded time, and
// each answer fits a message.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "dns/limiter.h"
#include "dns/local_names.h"
#include "dns/query.h"
#include "dns/record_text.h"

namespace {

using namespace sluice;

void check_answers(const dns::LocalNames& names, const DomainName& name) {
  for (auto type : {wire::DnsType::a, wire::DnsType::cname, wire::DnsType::txt}) {
    auto found = names.find(name, type);
    FUZZ_CHECK(found);
    dns::Query query{{}, {wire::DnsName(name), type}, true, wire::kDnsMaxMessageBytes};
    FUZZ_CHECK(!dns::build_reply(query, found->answer, std::chrono::seconds(1), {}).truncated);
    FUZZ_CHECK(!found->outside || !names.find(*found->outside, type));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<dns::Record> records;
  std::vector<DomainName> zones;
  std::vector<DomainName> owners;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (auto record = dns::parse_record(line)) {
      owners.push_back(*record->owner.domain());
      records.push_back(std::move(*record));
    } else if (auto zone = DomainName::parse(line)) {
      FUZZ_CHECK(zone->is_in(dns::registered_zone(*zone)));
      zones.push_back(std::move(*zone));
    }
  }
  auto set = dns::RecordSet::make(std::move(records), std::move(zones));
  if (!set) return 0;
  dns::LocalNames names{dns::LocalZone(*DomainName::parse("vm.internal")), std::move(*set)};
  for (const auto& owner : owners) check_answers(names, owner);
  return 0;
}
