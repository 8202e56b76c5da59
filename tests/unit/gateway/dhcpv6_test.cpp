#include "wire/dhcpv6.h"

#include <catch2/catch.hpp>

#include "guest_kit.h"
#include "wire/ndp.h"

using namespace sluice;
using namespace sluice::test;
using wire::Dhcpv6Address;
using wire::Dhcpv6Association;
using wire::Dhcpv6OptionCode;
using wire::Dhcpv6Status;
using wire::Dhcpv6Type;
using wire::Dhcpv6View;

namespace {

const IpAddress kFirst = gateway::Config().first_guest6;

struct Association {
  std::uint32_t id = 0;
  std::vector<Dhcpv6Address> addresses;
  std::optional<Dhcpv6Status> status;
};

struct Reply {
  Dhcpv6Type type;
  Dhcpv6Status status;
  std::vector<Association> associations;
  std::vector<std::uint8_t> server_id;
  std::vector<IpAddress> dns;
  std::vector<DomainName> search;
  bool rapid_commit;
};

Reply read(const std::vector<std::uint8_t>& payload) {
  auto view = Dhcpv6View::parse(payload);
  REQUIRE(view.has_value());
  CHECK(view->transaction() == 0x123456);
  Reply reply{view->type(),
              view->status(),
              {},
              {view->server_id().begin(), view->server_id().end()},
              view->dns_servers(),
              view->domain_list(),
              view->has(Dhcpv6OptionCode::rapid_commit)};
  auto options = view->options();
  while (auto option = options.next()) {
    auto parsed = Dhcpv6Association::parse(*option);
    if (!parsed) continue;
    Association association{parsed->id, {}, {}};
    while (auto nested = parsed->options.next()) {
      if (auto address = Dhcpv6Address::parse(*nested)) association.addresses.push_back(*address);
      if (nested->code == Dhcpv6OptionCode::status) {
        association.status = static_cast<Dhcpv6Status>(load_be16(nested->body.data()));
      }
    }
    reply.associations.push_back(association);
  }
  return reply;
}

Dhcpv6Ask having(Dhcpv6Type type, const IpAddress& address, const GuestKit& kit) {
  Dhcpv6Ask ask;
  ask.type = type;
  ask.associations = {{.id = 1, .addresses = {{address, 0, 0}}}};
  bool names_server = type != Dhcpv6Type::confirm && type != Dhcpv6Type::rebind;
  if (names_server) ask.server_id = wire::duid_from(kit.config.mac);
  return ask;
}

}  // namespace

TEST_CASE("SOLICIT and REQUEST give the guest one address, DNS and the search list") {
  gateway::Config config;
  config.domain = name("vm.internal");
  GuestKit kit(config);
  auto advertise = read(dhcpv6(kit, {}));
  CHECK(advertise.type == Dhcpv6Type::advertise);
  CHECK(advertise.server_id == wire::duid_from(config.mac));
  REQUIRE(advertise.associations.size() == 1);
  REQUIRE(advertise.associations[0].addresses.size() == 1);
  CHECK(advertise.associations[0].addresses[0].address == kFirst);
  auto reply = read(dhcpv6(kit, having(Dhcpv6Type::request, kFirst, kit)));
  CHECK(reply.type == Dhcpv6Type::reply);
  REQUIRE(reply.associations.size() == 1);
  REQUIRE(reply.associations[0].addresses.size() == 1);
  CHECK(reply.associations[0].addresses[0].address == kFirst);
  CHECK(reply.associations[0].addresses[0].valid_seconds == 86400);
  CHECK(reply.dns == std::vector{config.gateway6});
  CHECK(reply.search == std::vector{config.domain});
  CHECK(kit.check(kFirst) == gateway::SourceCheck::allowed);
  CHECK(kit.router.mac_of(kFirst) == kGuestMac);
}

TEST_CASE("SOLICIT with Rapid Commit is answered with a REPLY") {
  GuestKit kit;
  Dhcpv6Ask ask;
  ask.rapid_commit = true;
  auto reply = read(dhcpv6(kit, ask));
  CHECK(reply.type == Dhcpv6Type::reply);
  CHECK(reply.rapid_commit);
  CHECK(kit.router.leases().size() == 1);
}

TEST_CASE("a second association gets no address, and no prefix is delegated") {
  GuestKit kit;
  Dhcpv6Ask ask;
  ask.associations = {{.id = 5}, {.id = 6}};
  ask.wants_prefix = true;
  auto reply = read(dhcpv6(kit, ask));
  REQUIRE(reply.associations.size() == 3);
  CHECK(reply.associations[0].addresses.size() == 1);
  CHECK(reply.associations[1].status == Dhcpv6Status::no_addresses);
  CHECK(reply.associations[2].status == Dhcpv6Status::no_prefixes);
}

TEST_CASE("RENEW and REBIND keep the address, also without a record of it") {
  for (auto type : {Dhcpv6Type::renew, Dhcpv6Type::rebind}) {
    GuestKit kit;
    auto reply = read(dhcpv6(kit, having(type, kFirst, kit)));
    REQUIRE(reply.associations.size() == 1);
    CHECK(reply.associations[0].addresses[0].address == kFirst);
    CHECK(reply.associations[0].addresses[0].valid_seconds > 0);
  }
}

TEST_CASE("an address of another network is taken away on RENEW") {
  GuestKit kit;
  auto reply = read(dhcpv6(kit, having(Dhcpv6Type::renew, ip("2001:db8::5"), kit)));
  REQUIRE(reply.associations.size() == 1);
  REQUIRE(reply.associations[0].addresses.size() == 2);
  CHECK(reply.associations[0].addresses[1].address == ip("2001:db8::5"));
  CHECK(reply.associations[0].addresses[1].valid_seconds == 0);
}

TEST_CASE("CONFIRM says whether the address belongs on this link") {
  GuestKit kit;
  CHECK(read(dhcpv6(kit, having(Dhcpv6Type::confirm, kFirst, kit))).status ==
        Dhcpv6Status::success);
  CHECK(read(dhcpv6(kit, having(Dhcpv6Type::confirm, ip("2001:db8::5"), kit))).status ==
        Dhcpv6Status::not_on_link);
  Dhcpv6Ask empty;
  empty.type = Dhcpv6Type::confirm;
  CHECK(dhcpv6(kit, empty).empty());
}

TEST_CASE("RELEASE and DECLINE are confirmed, and only for the guest's own address") {
  GuestKit kit;
  dhcpv6(kit, having(Dhcpv6Type::request, kFirst, kit));
  auto reply = read(dhcpv6(kit, having(Dhcpv6Type::release, kFirst, kit)));
  CHECK(reply.status == Dhcpv6Status::success);
  CHECK(reply.associations.empty());
  CHECK(kit.router.counters().dhcp_releases == 1);
  dhcpv6(kit, having(Dhcpv6Type::request, kFirst, kit));
  read(dhcpv6(kit, having(Dhcpv6Type::decline, kFirst, kit)));
  auto next = read(dhcpv6(kit, {}));
  CHECK(next.associations[0].addresses[0].address == ip("fd53:4c55:4943::3"));
  reply = read(dhcpv6(kit, having(Dhcpv6Type::release, ip("fd53:4c55:4943::9"), kit)));
  REQUIRE(reply.associations.size() == 1);
  CHECK(reply.associations[0].status == Dhcpv6Status::no_binding);
}

TEST_CASE("INFORMATION-REQUEST gets settings and no address") {
  GuestKit kit;
  Dhcpv6Ask ask;
  ask.type = Dhcpv6Type::information_request;
  ask.associations.clear();
  ask.client_id.clear();
  auto reply = read(dhcpv6(kit, ask));
  CHECK(reply.type == Dhcpv6Type::reply);
  CHECK(reply.dns.size() == 1);
  CHECK(kit.router.leases().empty());
}

TEST_CASE("messages without the right identifiers are ignored") {
  GuestKit kit;
  Dhcpv6Ask ask;
  ask.client_id.clear();
  CHECK(dhcpv6(kit, ask).empty());
  ask = {};
  ask.server_id = wire::duid_from(kit.config.mac);
  CHECK(dhcpv6(kit, ask).empty());
  ask.type = Dhcpv6Type::request;
  ask.server_id = wire::duid_from(kOtherMac);
  CHECK(dhcpv6(kit, ask).empty());
  ask.type = Dhcpv6Type::advertise;
  CHECK(dhcpv6(kit, ask).empty());
  CHECK(kit.router.counters().dhcp_ignored == 4);
}

TEST_CASE("unicast DHCPv6 and DHCPv6 from a global address are ignored") {
  GuestKit kit;
  wire::Dhcpv6Builder builder(Dhcpv6Type::solicit, 1);
  builder.add(Dhcpv6OptionCode::client_id, wire::duid_from(kGuestMac));
  auto message = builder.finish();
  auto link_local = wire::link_local_from(kGuestMac);
  CHECK(kit.udp({link_local, wire::kDhcpv6ClientPort},
                {kit.config.gateway6, wire::kDhcpv6ServerPort}, message));
  CHECK(kit.udp({kFirst, wire::kDhcpv6ClientPort},
                {wire::all_dhcp_servers(), wire::kDhcpv6ServerPort}, message));
  CHECK(kit.sent.empty());
  CHECK(kit.udp({link_local, wire::kDhcpv6ClientPort},
                {wire::all_dhcp_servers(), wire::kDhcpv6ServerPort}, message));
  CHECK(kit.sent.size() == 1);
}

TEST_CASE("a DHCPv6 reply fits the smallest link, however many associations were sent") {
  GuestKit kit;
  Dhcpv6Ask ask;
  ask.associations.clear();
  for (std::uint32_t i = 0; i < 50; ++i) ask.associations.push_back({.id = i});
  ask.client_id.assign(wire::kMaxDuidBytes, 7);
  auto reply = dhcpv6(kit, ask);
  CHECK(kit.sent[0].packet().total_size() <= 1280);
  CHECK(read(reply).associations.size() == gateway::Dhcpv6Server::kMaxAssociations);
}

TEST_CASE("a DHCPv6 lease survives a restart of the gateway") {
  MemoryStore store;
  {
    GuestKit kit({}, &store);
    dhcpv6(kit, having(Dhcpv6Type::request, ip("fd53:4c55:4943::55"), kit));
  }
  GuestKit kit({}, &store);
  REQUIRE(kit.router.leases().size() == 1);
  auto reply = read(dhcpv6(kit, {}));
  CHECK(reply.associations[0].addresses[0].address == kit.router.leases()[0].address);
}
