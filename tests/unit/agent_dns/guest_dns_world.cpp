#include "agent_dns/guest_dns_world.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace sluice::agent {

namespace {

const Endpoint kVm{IpAddress::loopback(Family::v4), Port(53)};

}  // namespace

GuestDnsWorld::GuestDnsWorld()
    : dns(
          loop, net, *DomainName::parse("guest.internal"), [this] { ++changes; },
          [this] { return ++next_id; }) {
  dns.listen({kVm});
  loop.run_ready();
}

void GuestDnsWorld::send(std::string_view name, wire::DnsType type) {
  send(name, type, {});
}

void GuestDnsWorld::send(std::string_view name, wire::DnsType type, const From& from) {
  test::AskOptions options;
  options.id = from.id;
  options.edns_bytes = from.edns_bytes;
  auto listener = std::find_if(net.datagrams.begin(), net.datagrams.end(),
                               [](const auto& one) { return one->local == kVm && !one->closed(); });
  REQUIRE(listener != net.datagrams.end());
  (*listener)->feed(test::endpoint(from.source),
                    test::to_text(test::make_query(name, type, options)));
  loop.run_ready();
}

std::vector<test::Seen> GuestDnsWorld::replies() {
  std::vector<test::Seen> seen;
  for (const auto& socket : net.datagrams) {
    if (socket->local != kVm) continue;
    for (const auto& sent : socket->sent) {
      seen.push_back(test::look_at({sent.data.begin(), sent.data.end()}));
    }
    socket->sent.clear();
  }
  return seen;
}

test::Seen GuestDnsWorld::ask(std::string_view name, wire::DnsType type) {
  return ask(name, type, {});
}

test::Seen GuestDnsWorld::ask(std::string_view name, wire::DnsType type, const From& from) {
  send(name, type, from);
  auto seen = replies();
  REQUIRE(seen.size() == 1);
  return seen[0];
}

std::vector<test::DatagramPeer*> GuestDnsWorld::outside() {
  std::vector<test::DatagramPeer*> waiting;
  for (const auto& socket : net.datagrams) {
    if (!socket->closed() && socket->local.port != kVm.port && !socket->sent.empty()) {
      waiting.push_back(socket.get());
    }
  }
  return waiting;
}

void GuestDnsWorld::answer(test::DatagramPeer& socket, std::string_view address) {
  REQUIRE_FALSE(socket.sent.empty());
  auto sent = socket.sent.back();
  test::Message bytes(sent.data.begin(), sent.data.end());
  auto query = wire::DnsMessage::parse(bytes);
  REQUIRE(query);
  std::string owner = query->questions()[0].name.to_string();
  auto reply = test::ReplyBuilder(*query).address(owner, address).build();
  socket.feed(sent.to, test::to_text(reply));
  loop.run_ready();
}

}  // namespace sluice::agent
