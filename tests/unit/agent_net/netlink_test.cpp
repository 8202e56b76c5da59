#include "agent/net/netlink.h"

#include <catch2/catch.hpp>

#include "agent/net/netlink_monitor.h"
#include "namespace_kit.h"

using namespace sluice;
using namespace sluice::agent;
using namespace sluice::test;
using namespace std::chrono_literals;

namespace {

/// Runs `test` with the netlink of a fresh namespace.
void with_netlink(const std::function<void(Netlink&)>& test) {
  auto space = Namespace::make();
  if (!space) return;
  space->run([&] {
    auto netlink = Netlink::open();
    REQUIRE(netlink.is_ok());
    test(*netlink);
  });
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

InterfaceAddress address(int link, const char* text, int prefix_length) {
  InterfaceAddress result;
  result.link = link;
  result.address = *IpAddress::parse(text);
  result.prefix_length = prefix_length;
  result.duplicate_check = DuplicateCheck::left_out;
  return result;
}

Route route(int link, const char* destination, const char* gateway = nullptr) {
  Route result;
  result.link = link;
  result.destination = *IpPrefix::parse(destination);
  if (gateway) result.gateway = *IpAddress::parse(gateway);
  return result;
}

/// A pair, both ends up.
int make_pair(Netlink& netlink) {
  REQUIRE(netlink.add_veth("net0", {"net1"}));
  for (const char* name : {"net0", "net1"}) {
    REQUIRE(netlink.set_state(netlink.link(name)->index, LinkState::up));
  }
  return netlink.link("net0")->index;
}

std::vector<InterfaceAddress> addresses_of(Netlink& netlink, int link) {
  auto all = netlink.addresses();
  REQUIRE(all.is_ok());
  std::erase_if(*all, [&](const InterfaceAddress& own) {
    return own.link != link || own.address.is_link_local();
  });
  return *all;
}

/// The routes that were made by hand.
std::vector<Route> routes_of(Netlink& netlink) {
  auto all = netlink.routes();
  REQUIRE(all.is_ok());
  std::erase_if(*all, [](const Route& own) { return own.by_kernel; });
  return *all;
}

}  // namespace

TEST_CASE("lo goes up and down") {
  with_netlink([](Netlink& netlink) {
    auto lo = netlink.link("lo");
    REQUIRE(lo.is_ok());
    CHECK(lo->loopback);
    CHECK_FALSE(lo->up);
    CHECK(netlink.set_state(lo->index, LinkState::up));
    CHECK(netlink.link("lo")->up);
    CHECK(run_command("ping -c 1 -W 2 127.0.0.1 >/dev/null"));
    CHECK(netlink.set_state(lo->index, LinkState::down));
    CHECK_FALSE(netlink.link(lo->index)->up);
  });
}

TEST_CASE("bridges and pairs are made, named, joined and removed") {
  with_netlink([](Netlink& netlink) {
    REQUIRE(netlink.add_bridge("br0"));
    REQUIRE(netlink.add_veth("net0", {"net1"}));
    auto bridge = netlink.link("br0");
    auto port = netlink.link("net0");
    REQUIRE(bridge.is_ok());
    REQUIRE(port.is_ok());
    CHECK(bridge->kind == "bridge");
    CHECK(port->kind == "veth");
    CHECK(port->ethernet);
    CHECK_FALSE(port->mac.is_zero());
    CHECK(netlink.set_bridge(port->index, bridge->index));
    CHECK(netlink.link("net0")->bridge == bridge->index);
    CHECK(contains(output_of("ip -o link show master br0"), "net0"));
    CHECK(netlink.set_bridge(port->index, 0));
    CHECK(netlink.link("net0")->bridge == 0);
    CHECK(netlink.set_name(port->index, "eth9"));
    CHECK(netlink.link("eth9").is_ok());
    CHECK(netlink.links()->size() >= 4);
    CHECK(netlink.remove_link(port->index));
    CHECK(netlink.link("net1").status().code() == StatusCode::not_found);
    CHECK(netlink.remove_link(bridge->index));
  });
}

TEST_CASE("a carrier is there when both ends are up") {
  with_netlink([](Netlink& netlink) {
    REQUIRE(netlink.add_veth("net0", {"net1"}));
    int index = netlink.link("net0")->index;
    CHECK(netlink.set_state(index, LinkState::up));
    CHECK_FALSE(netlink.link(index)->carrier);
    CHECK(netlink.set_state(netlink.link("net1")->index, LinkState::up));
    CHECK(netlink.link(index)->carrier);
  });
}

TEST_CASE("errors say what was tried, and the kernel's words") {
  with_netlink([](Netlink& netlink) {
    REQUIRE(netlink.add_bridge("br0"));
    Status again = netlink.add_bridge("br0");
    CHECK(again.code() == StatusCode::already_exists);
    CHECK(contains(again.message(), "br0"));
    CHECK(contains(again.message(), "File exists"));
    Status name = netlink.add_bridge("a-name-much-too-long");
    CHECK(name.code() == StatusCode::invalid_argument);
    CHECK_FALSE(netlink.add_bridge("a/b"));
    CHECK_FALSE(netlink.add_bridge(""));
    Status none = netlink.set_state(4711, LinkState::up);
    CHECK(none.code() == StatusCode::not_found);
    int lo = netlink.link("lo")->index;
    Status mtu = netlink.set_mtu(netlink.link("br0")->index, 10);
    CHECK_FALSE(mtu);
    CHECK(contains(mtu.message(), "MTU 10"));
    CHECK(contains(mtu.message(), "("));  // the kernel's own words
    CHECK_FALSE(netlink.remove_link(lo));
    CHECK(netlink.remove_address(address(lo, "10.9.9.9", 24)).code() == StatusCode::not_found);
    CHECK(netlink.remove_route(route(lo, "10.9.9.0/24")).code() == StatusCode::not_found);
  });
}

TEST_CASE("the MTU is set") {
  with_netlink([](Netlink& netlink) {
    int index = make_pair(netlink);
    CHECK(netlink.set_mtu(index, 1400));
    CHECK(netlink.link(index)->mtu == 1400);
    CHECK(netlink.link(index)->max_mtu == 65535);
  });
}

TEST_CASE("addresses of both families come with lifetimes, change and go") {
  with_netlink([](Netlink& netlink) {
    int index = make_pair(netlink);
    auto v4 = address(index, "10.0.0.2", 24);
    v4.valid = 1000s;
    v4.preferred = 500s;
    auto v6 = address(index, "fd00::2", 64);
    REQUIRE(netlink.set_address(v4));
    REQUIRE(netlink.set_address(v6));
    auto list = addresses_of(netlink, index);
    REQUIRE(list.size() == 2);
    CHECK(list[0].is_same(v4));
    CHECK(list[0].valid <= 1000s);
    CHECK(list[0].valid >= 990s);
    CHECK(list[0].preferred <= 500s);
    CHECK(list[0].dynamic);
    CHECK(list[1].is_same(v6));
    CHECK(list[1].valid == kForever);
    CHECK_FALSE(list[1].tentative);
    CHECK_FALSE(list[1].dynamic);
    CHECK(contains(output_of("ip -o addr show dev net0"), "10.0.0.2/24 brd 10.0.0.255"));

    v4.valid = v4.preferred = kForever;
    REQUIRE(netlink.set_address(v4));
    CHECK(addresses_of(netlink, index)[0].valid == kForever);
    CHECK(netlink.remove_address(v4));
    CHECK(netlink.remove_address(v6));
    CHECK(addresses_of(netlink, index).empty());
  });
}

TEST_CASE("without the duplicate check left out, an IPv6 address is tentative first") {
  with_netlink([](Netlink& netlink) {
    int index = make_pair(netlink);
    auto own = address(index, "fd00::2", 64);
    own.duplicate_check = DuplicateCheck::wanted;
    REQUIRE(netlink.set_address(own));
    CHECK(addresses_of(netlink, index)[0].tentative);
  });
}

TEST_CASE("routes on the link and by a gateway, with metrics, are made, replaced and removed") {
  with_netlink([](Netlink& netlink) {
    int index = make_pair(netlink);
    REQUIRE(netlink.set_address(address(index, "10.0.0.2", 24)));
    REQUIRE(netlink.set_address(address(index, "fd00::2", 64)));
    auto on_link = route(index, "172.16.0.0/16");
    auto by_gateway = route(index, "0.0.0.0/0", "10.0.0.1");
    auto second = by_gateway;
    second.metric = 200;
    auto v6 = route(index, "::/0", "fd00::1");
    v6.metric = 300;
    for (const Route& each : {on_link, by_gateway, second, v6}) REQUIRE(netlink.add_route(each));
    CHECK(netlink.add_route(by_gateway).code() == StatusCode::already_exists);
    auto list = routes_of(netlink);
    CHECK(list.size() == 4);
    for (const Route& each : {on_link, by_gateway, second, v6}) {
      CHECK(std::ranges::any_of(list, [&](const Route& other) { return other.is_same(each); }));
    }
    CHECK(contains(output_of("ip route"), "172.16.0.0/16 dev net0 proto static scope link"));

    auto replaced = route(index, "0.0.0.0/0", "10.0.0.9");
    REQUIRE(netlink.set_route(replaced));
    list = routes_of(netlink);
    CHECK(list.size() == 4);
    CHECK(
        std::ranges::none_of(list, [&](const Route& other) { return other.is_same(by_gateway); }));

    for (const Route& each : {on_link, replaced, second, v6}) CHECK(netlink.remove_route(each));
    CHECK(routes_of(netlink).empty());
  });
}

TEST_CASE("a gateway outside every prefix works where it is said to be on the link") {
  with_netlink([](Netlink& netlink) {
    int index = make_pair(netlink);
    REQUIRE(netlink.set_address(address(index, "10.0.0.2", 32)));
    auto far = route(index, "0.0.0.0/0", "192.168.1.1");
    CHECK_FALSE(netlink.set_route(far));
    far.gateway_on_link = true;
    CHECK(netlink.set_route(far));
    CHECK(routes_of(netlink).size() == 1);
  });
}

TEST_CASE("more routes than fit into one answer are all listed") {
  with_netlink([](Netlink& netlink) {
    int index = make_pair(netlink);
    for (int i = 0; i < 2000; ++i) {
      IpAddress to = IpAddress::v4(static_cast<std::uint32_t>(0xac100000 + i * 256));
      Route each;
      each.link = index;
      each.destination = IpPrefix(to, 24);
      REQUIRE(netlink.add_route(each));
    }
    CHECK(routes_of(netlink).size() == 2000);
  });
}

TEST_CASE("a link moves into another namespace, by descriptor and by process") {
  auto other = Namespace::make();
  if (!other) return;
  with_netlink([&](Netlink& netlink) {
    REQUIRE(netlink.add_veth("net0", {"net1"}));
    REQUIRE(netlink.add_veth("net2", {"eth0", other->fd()}));
    CHECK(netlink.move_to_namespace(netlink.link("net1")->index, other->fd()));
    CHECK_FALSE(netlink.link("net1").is_ok());
    std::unique_ptr<Process> process;
    other->run([&] {
      CHECK(Netlink::open()->link("net1").is_ok());
      CHECK(Netlink::open()->link("eth0").is_ok());
      process = std::make_unique<Process>(std::vector<std::string>{"sleep", "60"});
    });
    CHECK(netlink.move_to_namespace_of(netlink.link("net0")->index, process->pid()));
    other->run([&] { CHECK(Netlink::open()->link("net0").is_ok()); });
  });
}

TEST_CASE("changes of links, addresses and routes are told as they come") {
  with_netlink([](Netlink& netlink) {
    auto loop = std::move(*UvLoop::create());
    bool came = false, went = false, addressed = false, unaddressed = false, routed = false;
    auto monitor = NetlinkMonitor::open(*loop, [&](const NetworkChange& change) {
      if (const auto* link = std::get_if<LinkChange>(&change)) {
        if (link->link.name == "net0") (link->removed ? went : came) = true;
      } else if (const auto* own = std::get_if<AddressChange>(&change)) {
        if (own->address.address == *IpAddress::parse("10.0.0.2")) {
          (own->removed ? unaddressed : addressed) = true;
        }
      } else if (const auto* way = std::get_if<RouteChange>(&change)) {
        routed = routed || way->route.destination == *IpPrefix::parse("172.16.0.0/16");
      }
    });
    REQUIRE(monitor.is_ok());
    int index = make_pair(netlink);
    REQUIRE(netlink.set_address(address(index, "10.0.0.2", 24)));
    REQUIRE(netlink.add_route(route(index, "172.16.0.0/16", "10.0.0.1")));
    CHECK(run_until(*loop, [&] { return came && addressed && routed; }));
    REQUIRE(netlink.remove_link(index));
    CHECK(run_until(*loop, [&] { return went && unaddressed; }));
  });
}

TEST_CASE("changes that come faster than they are read are told to be lost") {
  with_netlink([](Netlink& netlink) {
    auto loop = std::move(*UvLoop::create());
    bool lost = false;
    auto monitor = NetlinkMonitor::open(*loop, [&](const NetworkChange& change) {
      lost = lost || std::holds_alternative<ChangesLost>(change);
    });
    REQUIRE(monitor.is_ok());
    int index = make_pair(netlink);
    for (int i = 0; i < 5000; ++i) {
      IpAddress to = IpAddress::v4(static_cast<std::uint32_t>(0xac100000 + i * 256));
      Route each;
      each.link = index;
      each.destination = IpPrefix(to, 24);
      REQUIRE(netlink.add_route(each));
    }
    CHECK(run_until(*loop, [&] { return lost; }));
  });
}
