#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <net/address.h>
#include <net/name.h>

// What a Network's DNS service is told.

namespace sluice {

/// What the guest is told of a name that the policy denies.
enum class DeniedNames : std::uint8_t {
  nxdomain,  ///< NXDOMAIN with SOA: what a resolver library takes as the last word.
  refused,   ///< REFUSED: many libraries ask their next server.
};

/// A resolver to ask.
struct DnsResolver {
  Endpoint endpoint;
  /// Not empty: it is asked over TLS and in no other way (RFC 7858), and its certificate must be
  /// for this name (or IP address).
  std::string tls_name;

  DnsResolver() = default;
  // Implicit, as most resolvers are an address and no more.
  DnsResolver(const Endpoint& at, std::string name = {})  // NOLINT: implicit
      : endpoint(at), tls_name(std::move(name)) {}

  bool uses_tls() const { return !tls_name.empty(); }
  /// "192.0.2.1:53", "tls://192.0.2.1:853#dns.example".
  std::string to_string() const;

  friend bool operator==(const DnsResolver&, const DnsResolver&) = default;
};

/// Resolvers for one zone: no other resolver ever hears of a name in it.
struct DnsSplit {
  DomainName zone;
  std::vector<DnsResolver> resolvers;  ///< In the order of preference; at least one.

  friend bool operator==(const DnsSplit&, const DnsSplit&) = default;
};

/// A record that the DNS service answers itself.
struct DnsRecord {
  DomainName name;
  std::string type;  ///< "A", in upper case.
  std::uint32_t ttl_seconds = 0;
  std::string value;  ///< As a zone file has it, every name absolute and without its final dot.

  friend bool operator==(const DnsRecord&, const DnsRecord&) = default;
};

/// Some of the records: those of a name, of a type, of a value; what is empty does not narrow it.
struct DnsRecordMatch {
  DomainName name;
  std::string type;
  std::string value;  ///< As DnsRecord has it.

  bool matches(const DnsRecord& record) const {
    return (name.is_root() || name == record.name) && (type.empty() || type == record.type) &&
           (value.empty() || value == record.value);
  }
};

/// A change of what the DNS service answers itself and of whom it asks. What is not named stays as
/// it is; what goes does so before anything comes, so a record is replaced by being in both lists.
struct DnsChange {
  std::vector<DnsRecordMatch> remove_records;
  /// Each "NAME [TTL] TYPE VALUE"; one that is there already gets this TTL.
  std::vector<std::string> add_records;
  std::vector<DomainName> remove_zones, add_zones;
  std::vector<DomainName> remove_split;
  std::vector<DnsSplit> add_split;  ///< In place of the zone's former resolvers.
  /// Empty list: the host's, as they change.
  std::optional<std::vector<DnsResolver>> upstreams;
};

/// Names that look like data in another alphabet, where only a rule on `*.zone` allows them.
enum class EncodedNames : std::uint8_t { deny, allow };

/// Bounds on what a guest can carry out and in by asking for names. They count what goes to
/// resolvers: an answer from the cache tells nobody anything. Over a limit the answer is SERVFAIL,
/// and there is one event. 0: no limit.
struct DnsLimits {
  /// Of one guest, on average; four seconds' worth at once.
  std::uint32_t queries_per_second = 500;
  /// Different names of one registered zone ("example.com", "example.co.uk") in a minute, each
  /// guest's.
  std::uint32_t names_per_zone = 3000;
  /// Bytes of answers other than addresses (TXT, NULL, ...) in a minute, each guest's. Aliases
  /// before an address count beyond 512 bytes.
  std::uint32_t data_bytes = 256 * 1024;
  EncodedNames encoded_names = EncodedNames::deny;
};

}  // namespace sluice
