#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/dns/guest_dns.h"
#include "dns/dns_world.h"
#include "support/scripted_net.h"
#include "support/virtual_loop.h"

namespace sluice::agent {

inline Registration registration(std::string owner, std::vector<std::string> names,
                                 std::vector<std::string> addresses, NamedBy by = NamedBy::itself,
                                 std::string network = "", OwnerKind kind = OwnerKind::container) {
  Registration made{std::move(owner), std::move(network), kind, by, {}, {}};
  for (const auto& name : names) made.names.push_back(*DomainName::parse(name));
  for (const auto& address : addresses) made.addresses.push_back(*IpAddress::parse(address));
  return made;
}

/// A resolver of the guest's among scripted sockets on a virtual clock. Ids outside are 1, 2, 3...
struct GuestDnsWorld {
  GuestDnsWorld();

  struct From {
    std::string source = "127.0.0.1:40000";
    std::uint16_t id = 0x1234;
    std::optional<std::uint16_t> edns_bytes;
  };
  /// Sends a query to the listener at 127.0.0.1:53.
  void send(std::string_view name, wire::DnsType type = wire::DnsType::a);
  void send(std::string_view name, wire::DnsType type, const From& from);
  /// The replies since the last call.
  std::vector<test::Seen> replies();
  /// The reply that comes without time passing.
  test::Seen ask(std::string_view name, wire::DnsType type = wire::DnsType::a);
  test::Seen ask(std::string_view name, wire::DnsType type, const From& from);

  /// Sockets that a question went out by and that still wait.
  std::vector<test::DatagramPeer*> outside();
  /// Answers what was sent last by that socket, with one address.
  void answer(test::DatagramPeer& socket, std::string_view address = "192.0.2.1");

  std::uint16_t next_id = 0;
  test::VirtualLoop loop;
  test::ScriptedNet net{loop};
  int changes = 0;
  GuestDns dns;
};

}  // namespace sluice::agent
