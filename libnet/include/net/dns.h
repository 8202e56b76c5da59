#pragma once

#include <cstdint>
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

/// Resolvers for one zone: no other resolver ever hears of a name in it.
struct DnsSplit {
  DomainName zone;
  std::vector<Endpoint> resolvers;  ///< In the order of preference; at least one.

  friend bool operator==(const DnsSplit&, const DnsSplit&) = default;
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
