#include "core/gatekeeper.h"

#include <catch2/catch.hpp>

#include "core/engine_world.h"
#include "policy/rule_set.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using Tcp = flow::TcpRoute::Kind;
using Udp = flow::UdpRoute::Kind;

namespace {

const Endpoint kGuest = endpoint("192.168.127.2:40000");

/// A gatekeeper with a policy and a DNS service of nobody's.
struct Keeper {
  explicit Keeper(std::string_view rules = "", std::vector<ReverseSpec> reverse = {})
      : gatekeeper(loop, config, std::move(reverse),
                   {.on_denied = [this](const Event& event) { denied.push_back(event); },
                    .on_violation = [this](const Event& event) { violations.push_back(event); },
                    .on_flow = {}}),
        dns(loop, net, {}, {}) {
    gatekeeper.set_dns(&dns);
    use(rules);
  }

  void use(std::string_view rules) {
    policy::RuleInputs inputs;
    if (!rules.empty()) {
      inputs.command_line = {{std::string(rules), "--rule", 0, std::nullopt}};
    }
    inputs.profile = "none";
    auto assembled = policy::assemble_rules(inputs);
    REQUIRE(assembled);
    policy::HostView view;
    view.gateways = {config.gateway4, config.gateway6};
    view.host_aliases = {config.host_alias4, *config.host_alias6};
    view.guest_subnets = {config.subnet4, config.prefix6};
    auto compiled = policy::Policy::compile(std::move(*assembled), view);
    REQUIRE(compiled);
    gatekeeper.set_policy(*compiled);
  }

  flow::TcpRoute tcp(std::string_view remote) {
    return gatekeeper.route_tcp(kGuest, endpoint(remote), 0);
  }
  flow::UdpRoute udp(std::string_view remote) {
    return gatekeeper.route_udp(kGuest, endpoint(remote), 0);
  }
  /// Tells of an upstream's answer; the indices that the guest must not see.
  std::vector<std::size_t> answer(std::vector<DomainName> names,
                                  std::vector<dns::BoundAddress> addresses,
                                  dns::Origin origin = dns::Origin::upstream) {
    dns::Client client{.guest = 0, .source = kGuest, .server = endpoint("192.168.127.1:53")};
    return gatekeeper.on_answer({client, names, addresses, origin});
  }
  dns::LookupVerdict query(std::string_view name, dns::Origin origin = dns::Origin::upstream) {
    dns::Client client{.guest = 0, .source = kGuest, .server = endpoint("192.168.127.1:53")};
    DomainName asked = domain(name);
    return gatekeeper.may_query({client, asked, wire::DnsType::a, origin});
  }

  VirtualLoop loop;
  ScriptedNet net{loop};
  gateway::Config config;
  std::vector<DenialEvent> denied;
  std::vector<DenialEvent> violations;
  core::Gatekeeper gatekeeper;
  dns::Service dns;
};

}  // namespace

TEST_CASE("an allowed connection is dialled where the guest wanted it") {
  Keeper keeper("allow@203.0.113.5");
  flow::TcpRoute route = keeper.tcp("203.0.113.5:443");
  CHECK(route.kind == Tcp::dial);
  CHECK(route.addresses == std::vector{endpoint("203.0.113.5:443")});
  CHECK(keeper.udp("203.0.113.5:443").kind == Udp::send);
  CHECK(keeper.udp("203.0.113.5:443").address == endpoint("203.0.113.5:443"));
  CHECK(keeper.denied.empty());
}

TEST_CASE("a denied flow is refused, and reported with who, where and why") {
  Keeper keeper("allow@203.0.113.5");
  CHECK(keeper.tcp("203.0.113.6:443").kind == Tcp::refuse);
  REQUIRE(keeper.denied.size() == 1);
  const DenialEvent& event = keeper.denied[0];
  CHECK(event.layer == Layer::syn);
  CHECK(event.protocol == Protocol::tcp);
  CHECK(event.source == kGuest);
  CHECK(event.destination == endpoint("203.0.113.6:443"));
  CHECK(event.rule == "default deny");
  CHECK(event.reason == "no rule allows it");

  CHECK(keeper.udp("203.0.113.6:443").kind == Udp::prohibit);
  CHECK(keeper.denied.back().layer == Layer::udp);
  CHECK_FALSE(keeper.gatekeeper.allow_echo(kGuest.address, ip("203.0.113.6")));
  CHECK(keeper.denied.back().layer == Layer::icmp);
  CHECK(keeper.gatekeeper.denials() == 3);
}

TEST_CASE("a refusal by a rule names the rule, and the names bound to the address") {
  Keeper keeper("deny@203.0.113.0/24");
  keeper.gatekeeper.names().bind(domain("bad.example.com"), ip("203.0.113.6"), 1h,
                                 keeper.loop.now());
  keeper.tcp("203.0.113.6:80");
  REQUIRE(keeper.denied.size() == 1);
  CHECK(keeper.denied[0].rule.find("deny@203.0.113.0/24") != std::string::npos);
  CHECK(keeper.denied[0].reason == "a rule denies it");
  CHECK(keeper.denied[0].names == std::vector<std::string>{"bad.example.com"});
}

TEST_CASE("gateway and host alias lead to the host's loopback, to the other family where refused") {
  Keeper keeper("allow@host");
  for (const char* address : {"192.168.127.1:80", "192.168.127.254:80"}) {
    INFO(address);
    CHECK(keeper.tcp(address).addresses ==
          std::vector{endpoint("127.0.0.1:80"), endpoint("[::1]:80")});
    CHECK(keeper.udp(address).address == endpoint("127.0.0.1:80"));
  }
  std::string gateway6 = "[" + keeper.config.gateway6.to_string() + "]:80";
  CHECK(keeper.tcp(gateway6).addresses ==
        std::vector{endpoint("[::1]:80"), endpoint("127.0.0.1:80")});
  CHECK(Keeper("allow@public").tcp("192.168.127.1:80").kind == Tcp::refuse);
}

TEST_CASE("addresses that mean the host to connect() lead nowhere, whatever the policy says") {
  Keeper keeper("allow@any");
  for (const char* remote : {"0.0.0.0:80", "[::]:80", "239.1.1.1:80", "255.255.255.255:80",
                             "192.168.127.9:80", "[fd53:4c55:4943::9]:80"}) {
    INFO(remote);
    CHECK(keeper.tcp(remote).kind == Tcp::unreachable);
    CHECK(keeper.udp(remote).kind == Udp::prohibit);
    CHECK_FALSE(keeper.gatekeeper.allow_echo(kGuest.address, endpoint(remote).address));
  }
}

TEST_CASE("the gateway's ports for DNS never lead to the host's loopback") {
  for (const char* rules : {"allow@www.example.com", "allow@any", "allow@dns", "allow@host"}) {
    Keeper keeper(rules);
    INFO(rules);
    for (const char* remote : {"192.168.127.1:853", "[fd53:4c55:4943::1]:853"}) {
      CHECK(keeper.tcp(remote).kind == Tcp::refuse);
      CHECK(keeper.udp(remote).kind == Udp::prohibit);
    }
    CHECK(keeper.udp("192.168.127.1:53").kind == Udp::prohibit);
  }
}

TEST_CASE("a flow of which nothing was read stays while every name of its address may be reached") {
  Keeper keeper("allow@any");
  keeper.answer({domain("www.example.com")}, {{ip("9.9.9.9"), 1h}});
  Endpoint remote = endpoint("9.9.9.9:443");
  auto stays = [&] { return keeper.gatekeeper.allow_unread(Protocol::tcp, kGuest, remote, 7); };
  keeper.use("allow@www.example.com");
  CHECK(stays());
  keeper.use("allow@any");
  keeper.answer({domain("other.example")}, {{ip("9.9.9.9"), 1h}});
  keeper.use("allow@www.example.com");
  CHECK_FALSE(stays());
  REQUIRE(keeper.denied.size() == 1);
  CHECK(keeper.denied[0].server_name == "other.example");
  CHECK(keeper.denied[0].flow == 7);
}

TEST_CASE("every connection to port 53 is the forwarder's, under any policy") {
  Keeper keeper("deny@any");
  for (const char* remote : {"192.168.127.1:53", "203.0.113.5:53", "0.0.0.0:53"}) {
    flow::TcpRoute route = keeper.tcp(remote);
    CHECK(route.kind == Tcp::session);
    CHECK(route.session != nullptr);
  }
  CHECK(keeper.denied.empty());
}

TEST_CASE("a reverse port leads to its Unix socket, on the gateway's address only") {
  Keeper keeper("deny@any", {{Port(2375), "/run/docker.sock"}});
  flow::TcpRoute route = keeper.tcp("192.168.127.1:2375");
  CHECK(route.kind == Tcp::dial_unix);
  CHECK(route.path == "/run/docker.sock");
  CHECK(keeper.tcp("192.168.127.1:2376").kind == Tcp::refuse);
  CHECK(keeper.tcp("203.0.113.5:2375").kind == Tcp::refuse);
}

TEST_CASE("a client of a published port is judged by the ingress rules") {
  Keeper keeper("deny:ingress@198.51.100.0/24");
  Endpoint port = endpoint("192.168.127.2:80");
  CHECK(keeper.gatekeeper.allow_ingress(Protocol::tcp, endpoint("203.0.113.1:5"), port, 0));
  CHECK_FALSE(keeper.gatekeeper.allow_ingress(Protocol::tcp, endpoint("198.51.100.7:5"), port, 0));
  REQUIRE(keeper.denied.size() == 1);
  CHECK(keeper.denied[0].layer == Layer::ingress);
  CHECK(keeper.denied[0].source == endpoint("198.51.100.7:5"));
  CHECK(keeper.denied[0].destination == port);
}

TEST_CASE("like refusals within a second are one report, and one more says how many there were") {
  Keeper keeper;
  for (int i = 0; i < 10; ++i) keeper.tcp("203.0.113.6:443");
  CHECK(keeper.denied.size() == 1);
  CHECK(keeper.denied[0].suppressed == 0);
  keeper.tcp("203.0.113.6:444");
  CHECK(keeper.denied.size() == 2);
  keeper.loop.advance(1s);
  REQUIRE(keeper.denied.size() == 3);
  CHECK(keeper.denied[2].destination == endpoint("203.0.113.6:443"));
  CHECK(keeper.denied[2].suppressed == 8);
  CHECK(keeper.gatekeeper.denials() == 11);
}

TEST_CASE("a scan of many ports costs no more reports than places") {
  Keeper keeper;
  for (int round = 0; round < 2; ++round) {
    for (int port = 1; port <= 3000; ++port) {
      keeper.gatekeeper.route_tcp(
          kGuest, {ip("203.0.113.6"), Port(static_cast<std::uint16_t>(port + 1000))}, 0);
    }
  }
  CHECK(keeper.denied.size() == 3000);
  CHECK(keeper.gatekeeper.denials() == 6000);
}

TEST_CASE("a name that no rule lets be resolved is NXDOMAIN and reported with who asked") {
  Keeper keeper("allow@good.example.com");
  CHECK(keeper.query("good.example.com") == dns::LookupVerdict::allow);
  CHECK(keeper.query("bad.example.com") == dns::LookupVerdict::prohibited);
  REQUIRE(keeper.denied.size() == 1);
  CHECK(keeper.denied[0].layer == Layer::dns);
  CHECK(keeper.denied[0].names == std::vector<std::string>{"bad.example.com"});
  CHECK(keeper.denied[0].source == kGuest);
  CHECK(keeper.query("host.vm.internal", dns::Origin::local) == dns::LookupVerdict::allow);
}

TEST_CASE("a denied lookup says whether a rule or the default decided, an allowed one by what") {
  Keeper keeper("deny@bad.example.com,allow@one.example.com,allow@*.zone.example.com");
  CHECK(keeper.query("bad.example.com") == dns::LookupVerdict::blocked);
  CHECK(keeper.query("other.example.com") == dns::LookupVerdict::prohibited);
  CHECK(keeper.query("one.example.com") == dns::LookupVerdict::allow);
  CHECK(keeper.query("a.zone.example.com") == dns::LookupVerdict::allow_below);
  CHECK(keeper.query("bad.example.com", dns::Origin::configured) == dns::LookupVerdict::allow);
}

TEST_CASE("a limit on lookups that a guest passes is reported like a refusal") {
  Keeper keeper("allow@*.zone.example.com");
  dns::Client client{.guest = 0, .source = kGuest, .server = endpoint("192.168.127.1:53")};
  DomainName name = domain("a.zone.example.com");
  keeper.gatekeeper.on_limit({client, name, wire::DnsType::a, dns::Origin::upstream},
                             dns::Limit::names_in_zone);
  REQUIRE(keeper.denied.size() == 1);
  CHECK(keeper.denied[0].names == std::vector<std::string>{"a.zone.example.com"});
  CHECK(keeper.denied[0].rule == "limit on lookups");
  CHECK(keeper.denied[0].reason == "too many different names of this zone in a minute");
}

TEST_CASE("a record of the owner's may lead inside, and a rule on its name opens that") {
  Keeper keeper("allow@db.example.com");
  CHECK(keeper.answer({domain("db.example.com")}, {{ip("10.0.0.5"), 60s}}, dns::Origin::configured)
            .empty());
  CHECK(keeper.tcp("10.0.0.5:443").kind == Tcp::dial);
  CHECK(keeper.tcp("10.0.0.6:443").kind == Tcp::refuse);
}

TEST_CASE("an answer opens its addresses for the name asked and every alias, at once") {
  Keeper keeper("allow@www.example.com");
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::refuse);
  CHECK(
      keeper.answer({domain("www.example.com"), domain("cdn.example.net")}, {{ip("9.9.9.9"), 60s}})
          .empty());
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::dial);
  CHECK(keeper.gatekeeper.names().names_of(ip("9.9.9.9"), keeper.loop.now()).size() == 2);
}

TEST_CASE("an answer that leads inside is taken out and opens nothing") {
  Keeper keeper("allow@www.example.com");
  CHECK(keeper.answer({domain("www.example.com")},
                      {{ip("10.0.0.5"), 60s}, {ip("9.9.9.9"), 60s}, {ip("127.0.0.1"), 60s}}) ==
        std::vector<std::size_t>{0, 2});
  CHECK(keeper.tcp("10.0.0.5:443").kind == Tcp::refuse);
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::dial);
}

TEST_CASE("answers of the local zone, and those without names, bind nothing") {
  Keeper keeper("allow@any");
  CHECK(
      keeper
          .answer({domain("host.vm.internal")}, {{ip("192.168.127.254"), 60s}}, dns::Origin::local)
          .empty());
  CHECK(keeper.answer({}, {{ip("9.9.9.9"), 60s}}).empty());
  CHECK(keeper.gatekeeper.names().size() == 0);
}

TEST_CASE("a route by name holds the name's bindings as long as it is kept") {
  Keeper keeper("allow@www.example.com");
  keeper.answer({domain("www.example.com")}, {{ip("9.9.9.9"), 1s}});
  flow::TcpRoute kept = keeper.tcp("9.9.9.9:443");
  keeper.loop.advance(1h);
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::dial);
  kept.hold.reset();
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::refuse);
}

TEST_CASE("each policy has a generation, which a name forgotten does not change") {
  Keeper keeper("allow@any");
  auto first = keeper.gatekeeper.generation();
  keeper.use("deny@any");
  CHECK(keeper.gatekeeper.generation() == first + 1);
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::refuse);
  keeper.gatekeeper.forget(domain("www.example.com"));
  CHECK(keeper.gatekeeper.generation() == first + 1);
}

TEST_CASE("a rule for a container counts for its connections, its lookups and its answers alone") {
  Keeper keeper;
  auto rules = policy::parse_rules(
      {"allow@a.example.com", "vm.toml", 1, std::nullopt, *IpPrefix::parse("10.88.0.0/16")});
  REQUIRE(rules);
  keeper.gatekeeper.set_policy(*policy::Policy::compile(*rules, {}));
  dns::Client container{
      .guest = 0, .source = endpoint("10.88.0.5:40000"), .server = endpoint("192.168.127.1:53")};
  DomainName name = domain("a.example.com");
  std::vector<DomainName> names{name};
  std::vector<dns::BoundAddress> addresses{{ip("9.9.9.9"), 60s}};
  CHECK(keeper.query("a.example.com") == dns::LookupVerdict::prohibited);
  CHECK(keeper.gatekeeper.may_query({container, name, wire::DnsType::a, dns::Origin::upstream}) ==
        dns::LookupVerdict::allow);
  CHECK(keeper.gatekeeper.on_answer({container, names, addresses, dns::Origin::upstream}).empty());
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::refuse);
  CHECK(keeper.gatekeeper.route_tcp(container.source, endpoint("9.9.9.9:443"), 0).kind ==
        Tcp::dial);
}

TEST_CASE(
    "what a fatal rule denies is a violation, each time, in whatever way the guest tries it") {
  Keeper keeper("deny!@metadata,deny!@*.evil.example.com,allow@public");
  keeper.tcp("169.254.169.254:80");
  keeper.udp("169.254.169.254:80");
  static_cast<void>(keeper.gatekeeper.allow_echo(kGuest.address, ip("169.254.169.254")));
  keeper.query("x.evil.example.com");
  REQUIRE(keeper.violations.size() == 4);
  CHECK(keeper.violations[0].is_fatal);
  CHECK(keeper.violations[0].rule == "rule \"deny!@metadata\" (--rule)");
  CHECK(keeper.denied.size() == 4);
  keeper.tcp("169.254.169.254:80");
  CHECK(keeper.violations.size() == 5);
  CHECK(keeper.denied.size() == 4);
}

TEST_CASE("what no rule allows, or a plain rule denies, is no violation") {
  Keeper keeper("deny@10.0.0.0/8,deny!@metadata:udp,allow@public");
  keeper.tcp("10.0.0.1:80");
  keeper.tcp("127.0.0.1:80");
  keeper.tcp("169.254.169.254:80");
  keeper.tcp("9.9.9.9:80");
  CHECK(keeper.violations.empty());
  CHECK(keeper.denied.size() == 3);
}

namespace {

std::string learned(const Keeper& keeper) {
  std::string out;
  for (const LearnReport::Item& item : keeper.gatekeeper.learned().rules) out += item.rule + " ";
  return out;
}

}  // namespace

TEST_CASE("learning records what a policy without rules would have refused, and changes nothing") {
  Keeper keeper("allow@public");
  keeper.gatekeeper.learn(LearnMode::everything);
  CHECK(keeper.query("www.example.com") == dns::LookupVerdict::allow);
  keeper.answer({domain("www.example.com"), domain("cdn.example.net")}, {{ip("9.9.9.9"), 60s}});
  CHECK(keeper.tcp("9.9.9.9:443").kind == Tcp::dial);
  CHECK(keeper.tcp("10.0.0.5:22").kind == Tcp::refuse);
  CHECK(keeper.udp("9.9.9.7:123").kind == Udp::send);
  // No rule opens these.
  keeper.udp("224.0.0.251:5353");
  keeper.query("host.vm.internal", dns::Origin::local);
  CHECK(learned(keeper) ==
        "allow@www.example.com:tcp:443 allow@9.9.9.7:udp:123 allow@10.0.0.5:tcp:22 ");
  keeper.gatekeeper.stop_learning();
  keeper.tcp("10.0.0.6:22");
  CHECK_FALSE(keeper.gatekeeper.learned().active);
  CHECK(learned(keeper).find("10.0.0.6") == std::string::npos);
  keeper.gatekeeper.learn(LearnMode::everything);
  CHECK(learned(keeper).empty());
}

TEST_CASE("learning only what is refused records no more than that") {
  Keeper keeper("allow@good.example.com,allow@203.0.113.0/24:udp");
  keeper.gatekeeper.learn(LearnMode::refused);
  keeper.udp("203.0.113.5:123");
  keeper.tcp("198.51.100.7:80");
  CHECK(learned(keeper) == "allow@198.51.100.7:tcp:80 ");
}

TEST_CASE("a name's own address is where a flow may be dialled, as far as rules open it") {
  Keeper keeper("allow@good.example.com:tcp:443");
  keeper.gatekeeper.names().bind(domain("good.example.com"), ip("203.0.113.6"), 1h,
                                 keeper.loop.now());
  auto route = [&](std::string_view remote, std::string_view name) {
    return keeper.gatekeeper.route_named(kGuest, endpoint(remote), domain(name), 1);
  };
  flow::TcpRoute good = route("203.0.113.6:443", "good.example.com");
  CHECK(good.kind == Tcp::dial);
  CHECK(good.addresses == std::vector{endpoint("203.0.113.6:443")});
  CHECK(good.hold);
  CHECK(route("203.0.113.6:80", "good.example.com").is_refusal());
  CHECK(route("203.0.113.6:443", "other.example.com").is_refusal());
  CHECK(route("203.0.113.7:443", "good.example.com").is_refusal());
  CHECK(route("192.168.127.1:53", "good.example.com").is_refusal());
}

TEST_CASE("a name that leads to this host is dialled at its loopback") {
  Keeper keeper("allow@any");
  flow::TcpRoute route = keeper.gatekeeper.route_named(
      kGuest, {keeper.config.host_alias4, Port(8080)}, domain("host.vm.internal"), 1);
  CHECK(route.addresses.at(0) == endpoint("127.0.0.1:8080"));
}

TEST_CASE("a lookup of the gateway's own comes to nothing where nobody can be asked") {
  Keeper keeper("allow@any");
  std::optional<std::size_t> found;
  keeper.gatekeeper.look_up(
      kGuest, domain("good.example.com"), Family::v4,
      [&](std::span<const IpAddress> addresses) { found = addresses.size(); });
  keeper.loop.run_ready();
  CHECK(found == 0);
}
