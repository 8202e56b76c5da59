#pragma once

#include <optional>
#include <string_view>

#include <net/status.h>

#include "dns/answer.h"

namespace sluice::dns {

/// TTL of a record that names none: short, because the owner may change it at any time.
inline constexpr std::uint32_t kRecordTtlSeconds = 60;
/// A longer TTL is a slip: a week is what anybody keeps an answer.
inline constexpr std::uint32_t kMaxRecordTtlSeconds = 7 * 24 * 3600;

/// A record as people write it: `NAME [TTL] TYPE VALUE`, in the manner of a zone file (RFC 1035
/// section 5.1) but with every name absolute, its final dot left to the writer:
///
///     db.corp.example A 10.0.0.5
///     corp.example 300 MX 10 mail.corp.example
///     _ldap._tcp.corp.example SRV 0 5 389 ldap.corp.example
///     corp.example TXT "v=spf1 -all"
///     corp.example CAA 0 issue "ca.example"
///     10.0.0.5 PTR db.corp.example
///
/// Types: A, AAAA, CNAME, MX, NS, SRV, TXT, CAA, PTR, in any case. The name of a PTR record may be
/// an address. A TXT value is one or more strings in double quotes with `\"`, `\\` and `\DDD` as
/// escapes, or text without quotes that is taken as it is; what is longer than 255 bytes becomes
/// several strings.
///
/// The error quotes the record and says what would be right.
Result<Record> parse_record(std::string_view text);

/// Of "aaaa", in any case; nothing for a type that parse_record() does not know.
std::optional<wire::DnsType> parse_type(std::string_view word);

/// "AAAA"; empty for a type that parse_record() does not know.
std::string_view type_name(wire::DnsType type);

}  // namespace sluice::dns
