#pragma once

#include <optional>

#include <net/dns.h>

#include "dns/answer.h"

namespace sluice::dns {

/// A record of a type that parse_record() knows, as it would read it again: "NAME TTL TYPE VALUE"
/// of the result is the same record. Nothing for other types, and for names that DomainName
/// refuses.
std::optional<DnsRecord> describe_record(const Record& record);

}  // namespace sluice::dns
