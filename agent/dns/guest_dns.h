#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "agent/dns/dns_asker.h"
#include "agent/dns/dns_counters.h"
#include "agent/dns/dns_forwarder.h"
#include "agent/dns/dns_listener.h"
#include "agent/dns/name_registry.h"
#include "base/host_net.h"
#include "base/loop.h"

// Theory of operation
//
//   client --UDP, TCP--> listener -> registered name? -- yes --> answer, TTL 5 s
//                                    in the suffix?   -- yes --> NXDOMAIN or no data, with SOA
//                                    else: the forwarder --> the gateway, which judges
//
// Nothing waits for anything else: what is known here is answered in the turn in which it is
// asked, whatever the servers of the outside do. No cache, as the gateway has one.

namespace sluice::agent {

/// A network of containers, such as a bridge.
struct DnsNetwork {
  std::string name;
  std::vector<IpPrefix> prefixes;   ///< Who asks from here sees the network's names.
  std::vector<Endpoint> addresses;  ///< Of the VM in it, where it is served.
};

/// The guest's resolver. One thread.
///
/// Who sees what: an address that owners have sees the names of their networks; another one those
/// of the network that it lies in, or that it asked in; the VM itself sees all.
class GuestDns {
 public:
  static constexpr std::size_t kMaxListeners = 256;

  /// `loop` and `host` outlive it. `suffix` has passed NameRegistry::check_suffix(). `on_serving`
  /// (may be empty) is called when serving() may be another than before, also from inside start(),
  /// listen() and their like. `random` has the ids of what is asked outside.
  GuestDns(Loop& loop, HostNet& host, DomainName suffix, std::function<void()> on_serving = {},
           DnsForwarder::RandomId random = {});
  GuestDns(const GuestDns&) = delete;
  GuestDns& operator=(const GuestDns&) = delete;

  /// Containers add what they are called when they start, and remove it when they end.
  NameRegistry& registry() { return registry_; }
  const NameRegistry& registry() const { return registry_; }

  /// Serves the VM itself at these addresses, and at no others of the VM's own from then on.
  /// An address that can't be had is tried again until it can.
  void listen(const std::vector<Endpoint>& addresses);
  /// In the place of a network of the same name; one that stays as it is is not interrupted.
  void set_network(const DnsNetwork& network);
  void remove_network(const std::string& name);
  /// Every address that was asked for, and whether it is served.
  const std::vector<std::unique_ptr<DnsListener>>& listeners() const { return listeners_; }
  /// Some address of the VM's own is served.
  bool serving() const;

  DnsForwarder& forwarder() { return forwarder_; }
  const DnsForwarder& forwarder() const { return forwarder_; }
  std::size_t sessions() const { return sessions_.size(); }
  const DnsCounters& counters() const { return counters_; }

  /// Answers one message; what the listeners do with theirs.
  void answer(ConstBytes message, const DnsAsker& asker, const DnsReply& reply);

 private:
  NameView view_of(const DnsAsker& asker) const;
  void keep_listeners(const std::string& network, const std::vector<Endpoint>& addresses);
  void collect_prefixes();

  NameRegistry registry_;
  DnsCounters counters_;
  DnsForwarder forwarder_;
  DnsSessions sessions_;
  DnsAnswer answer_;
  DnsListener::Shared shared_;
  std::vector<std::unique_ptr<DnsListener>> listeners_;
  std::vector<DnsNetwork> networks_;
  std::vector<IpPrefix> own_prefixes_;
};

}  // namespace sluice::agent
