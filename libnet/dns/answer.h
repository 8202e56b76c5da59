#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <net/name.h>

#include "wire/dns_message.h"

namespace sluice::dns {

/// A record outside any message: names in `rdata` are uncompressed. Class IN.
struct Record {
  wire::DnsName owner;
  wire::DnsType type = wire::DnsType::a;
  std::uint32_t ttl_seconds = 0;
  std::vector<std::uint8_t> rdata;
};

/// The answer to one question, freed of everything that was not asked.
struct Answer {
  wire::DnsRcode rcode = wire::DnsRcode::no_error;
  bool authoritative = false;
  /// The aliases from the name asked, in order, then the records of the asked type.
  std::vector<Record> records;
  /// The SOA of a negative answer.
  std::optional<Record> soa;
  /// How long it may be kept; 0: not at all.
  std::chrono::seconds lifetime{0};
  /// The name asked and its aliases, those that DomainName can hold.
  std::vector<DomainName> names;
};

/// A name with more aliases than this is no answer (RFC 1034 gives no number).
inline constexpr int kMaxAliases = 16;
/// Bounds how long an upstream's word is kept, whatever it says (RFC 2181 section 8).
inline constexpr std::chrono::seconds kMaxLifetime = std::chrono::hours(24);
/// RFC 2308 section 5 advises one to three hours.
inline constexpr std::chrono::seconds kMaxNegativeLifetime = std::chrono::hours(1);

/// Keeps of a resolver's reply the alias chain from `name` to the records of `type`, and for a
/// negative answer the SOA of a zone that the end of the chain lies in. Everything else is left
/// out. Nothing where the reply can't be an answer: another rcode than NOERROR and NXDOMAIN, more
/// than kMaxAliases aliases, a loop of them, or malformed data in what would be kept. SVCB and
/// HTTPS records lose their address hints and ECH keys.
std::optional<Answer> keep_chain(const wire::DnsMessage& reply, const wire::DnsName& name,
                                 wire::DnsType type);

/// A SOA record that lets a negative answer be kept for `ttl_seconds` (RFC 2308 section 5).
Record make_soa(const wire::DnsName& owner, const wire::DnsName& server, std::uint32_t ttl_seconds);

/// A negative answer of our own.
Answer make_negative(wire::DnsRcode rcode, Record soa);

}  // namespace sluice::dns
