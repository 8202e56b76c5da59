#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "wire/dns.h"

namespace sluice::dns {

enum class Transport : std::uint8_t { udp, tcp };

/// Who asks. Carried through to the hooks, and never used for a decision here.
struct Client {
  std::uint32_t guest = 0;  ///< The owner's own number for the guest.
  Endpoint source;
  Endpoint server;  ///< The address that the guest believes it asks.
};

/// Where the answer comes from.
enum class Origin : std::uint8_t {
  local,       ///< The local zone: the gateway, the host, guests.
  configured,  ///< The owner's extra records, which are what the owner says they are.
  upstream,    ///< A resolver, whose word is to be judged.
};

enum class LookupVerdict : std::uint8_t {
  allow,
  allow_below,  ///< Allowed with everything in its zone, so names can be made up to carry data.
  blocked,      ///< Denied by a rule.
  prohibited,   ///< Denied because no rule allows it.
};

struct Lookup {
  const Client& client;
  const DomainName& name;
  wire::DnsType type;
  Origin origin;
};

struct BoundAddress {
  IpAddress address;
  std::chrono::seconds ttl;  ///< What is left of it; the least along the alias chain.
};

/// What a client is about to be told. Lives as long as the call.
struct AnswerNotice {
  const Client& client;
  /// The name asked, then each alias (CNAME) in between. Alias names with bytes that DomainName
  /// refuses are left out. Where the owner's records lead to a name outside, that name is the one
  /// asked upstream and the first here; the aliases on the way to it come last.
  std::span<const DomainName> names;
  std::span<const BoundAddress> addresses;
  Origin origin;
};

/// What a guest had too much of; net/dns.h has the bounds.
enum class Limit : std::uint8_t { query_rate, names_in_zone, encoded_name, data };

/// How the owner takes part. All run on the loop's thread, inside Service::query() or a later turn
/// of the loop, and must not call the Service. An empty function allows everything.
struct Hooks {
  /// May this name be resolved? Asked for every query, cached or not; a name that is not allowed
  /// never leaves the host.
  std::function<LookupVerdict(const Lookup&)> may_query;
  /// Called before an answer with addresses goes to the client, so that what is written down here
  /// is there before the guest can connect. Returns the indices, ascending, of the addresses that
  /// the client must not see.
  std::function<std::vector<std::size_t>(const AnswerNotice&)> on_answer;
  /// A guest passed a limit; called once in a minute for each kind (and zone), however often it
  /// happens. The client gets SERVFAIL.
  std::function<void(const Lookup&, Limit)> on_limit;
};

}  // namespace sluice::dns
