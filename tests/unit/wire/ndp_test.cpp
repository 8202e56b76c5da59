#include "wire/ndp.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/packets.h"

using namespace sluice;
using namespace sluice::wire;
using sluice::testing::Frame;

namespace {

const MacAddress kMac({0x52, 0x54, 0, 1, 2, 3});
const IpAddress kUnspecified = IpAddress::any(Family::v6);

/// An NDP packet; `message` gets its checksum here, so that a test can break what is in it.
Frame packet(const IpAddress& from, const IpAddress& to, Frame message, std::uint8_t hops = 255) {
  store_be16(&message[2], 0);
  Checksum sum = pseudo_header(from, to, IpProtocol::icmpv6, message.size());
  sum.add(message);
  store_be16(&message[2], sum.value());
  IpHeader ip;
  ip.source = from;
  ip.destination = to;
  ip.protocol = IpProtocol::icmpv6;
  ip.ttl = hops;
  ip.payload_size = message.size();
  Frame bytes(ip.size());
  ip.emit(bytes);
  bytes.insert(bytes.end(), message.begin(), message.end());
  return bytes;
}

template <typename Message>
Frame emitted(const Message& message) {
  Frame bytes(message.size());
  REQUIRE(message.emit(bytes, kUnspecified, kUnspecified) == bytes.size());
  CHECK(message.emit(Bytes(bytes).first(bytes.size() - 1), kUnspecified, kUnspecified) == 0);
  return bytes;
}

Frame solicit(const IpAddress& target) {
  return emitted(NeighborSolicit{target, kMac});
}

std::optional<NdpView> parse(const Frame& bytes) {
  auto ip = Packet::parse(bytes);
  REQUIRE(ip);
  return NdpView::parse(*ip);
}

bool accepted(const IpAddress& from, const IpAddress& to, const Frame& message) {
  return parse(packet(from, to, message)).has_value();
}

}  // namespace

TEST_CASE("a neighbour solicitation reads back as written") {
  Frame bytes =
      packet(testing::kV6Guest, solicited_node(testing::kV6Peer), solicit(testing::kV6Peer));
  auto view = parse(bytes);
  REQUIRE(view);
  CHECK(view->type() == NdpType::neighbor_solicit);
  CHECK(view->target() == testing::kV6Peer);
  CHECK(view->source_link_address() == kMac);
  CHECK_FALSE(view->target_link_address());
  CHECK(view->hop_limit_ok());
}

TEST_CASE("a neighbour advert reads back as written") {
  Frame message = emitted(NeighborAdvert{testing::kV6Peer, kMac, true, true, false});
  Frame bytes = packet(testing::kV6Peer, testing::kV6Guest, message);
  auto view = parse(bytes);
  REQUIRE(view);
  CHECK(view->target() == testing::kV6Peer);
  CHECK(view->target_link_address() == kMac);
  CHECK(view->is_from_router());
  CHECK(view->is_solicited());
  CHECK_FALSE(view->is_override());
}

TEST_CASE("a router solicitation may have a link address or none") {
  for (bool with : {false, true}) {
    RouterSolicit message;
    if (with) message.source_mac = kMac;
    Frame bytes = packet(testing::kV6Guest, all_routers(), emitted(message));
    auto view = parse(bytes);
    REQUIRE(view);
    CHECK(view->source_link_address().has_value() == with);
  }
}

TEST_CASE("a router advert carries prefix, MTU, resolvers and search domains") {
  NdpPrefix prefix;
  prefix.prefix = *IpPrefix::parse("fd00:1234::/64");
  prefix.valid_seconds = 86400;
  prefix.preferred_seconds = 14400;
  IpAddress server = *IpAddress::parse("fd00:1234::1");
  DomainName domains[] = {*DomainName::parse("vm.internal"), *DomainName::parse("example.com")};
  RouterAdvert advert;
  advert.managed = true;
  advert.lifetime_seconds = 1800;
  advert.source_mac = kMac;
  advert.mtu = 65520;
  advert.prefixes = std::span(&prefix, 1);
  advert.dns_servers = std::span(&server, 1);
  advert.search_domains = domains;
  advert.dns_lifetime_seconds = 600;
  Frame bytes = packet(link_local_from(kMac), all_nodes(), emitted(advert));
  auto view = parse(bytes);
  REQUIRE(view);
  CHECK(view->is_managed());
  CHECK_FALSE(view->is_other_config());
  CHECK(view->router_lifetime_seconds() == 1800);
  CHECK(view->advertised_hop_limit() == 64);
  CHECK(view->source_link_address() == kMac);
  CHECK(view->mtu() == 65520);

  int seen = 0;
  auto options = view->options();
  while (auto option = options.next()) {
    switch (option->type) {
      case NdpOptionType::prefix_information: {
        auto read = NdpPrefix::parse(*option);
        REQUIRE(read);
        CHECK(read->prefix == prefix.prefix);
        CHECK(read->on_link);
        CHECK(read->autonomous);
        CHECK(read->valid_seconds == 86400);
        CHECK(read->preferred_seconds == 14400);
        ++seen;
        break;
      }
      case NdpOptionType::rdnss:
        CHECK(load_be32(&option->body[2]) == 600);
        CHECK(IpAddress::from_bytes(option->body.subspan(6)) == server);
        ++seen;
        break;
      case NdpOptionType::dnssl: {
        const char want[] =
            "\x02vm\x08internal\0\x07"
            "example\x03"
            "com";
        ConstBytes names = option->body.subspan(6);
        REQUIRE(names.size() == 32);  // 26 bytes, padded
        CHECK(std::equal(want, want + sizeof want, names.begin(),
                         [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }));
        CHECK(std::all_of(names.begin() + sizeof want, names.end(), [](auto b) { return b == 0; }));
        ++seen;
        break;
      }
      default:
        break;
    }
  }
  CHECK(seen == 3);
}

TEST_CASE("resolvers and search domains beyond what an option holds are left out") {
  std::vector<IpAddress> servers(200, testing::kV6Peer);
  std::vector<DomainName> domains(200, *DomainName::parse("a-rather-long-label.example.com"));
  RouterAdvert advert;
  advert.dns_servers = servers;
  advert.search_domains = domains;
  CHECK(advert.size() <= 16 + 2 * 255 * 8);
  CHECK(accepted(link_local_from(kMac), all_nodes(), emitted(advert)));
}

TEST_CASE("a hop limit other than 255 is there for the caller to see") {
  for (int hops : {0, 1, 64, 254, 255}) {
    Frame bytes = packet(testing::kV6Guest, testing::kV6Peer, solicit(testing::kV6Peer),
                         static_cast<std::uint8_t>(hops));
    auto view = parse(bytes);
    REQUIRE(view);
    CHECK(view->hop_limit_ok() == (hops == 255));
  }
}

TEST_CASE("NDP options of length 0 or beyond the message are refused") {
  for (std::uint8_t length : {0, 2, 255}) {
    Frame message = solicit(testing::kV6Peer);
    message[25] = length;
    CHECK_FALSE(accepted(testing::kV6Guest, testing::kV6Peer, message));
  }
  Frame message = solicit(testing::kV6Peer);
  message.resize(message.size() + 7, 1);  // less than an option at the end
  CHECK_FALSE(accepted(testing::kV6Guest, testing::kV6Peer, message));
  message.resize(message.size() + 1, 1);  // type 1, length 1: 8 bytes
  CHECK(accepted(testing::kV6Guest, testing::kV6Peer, message));
}

TEST_CASE("an NDP message shorter than its type needs is refused") {
  for (auto [type, size] : {std::pair{133, 8}, {134, 16}, {135, 24}, {136, 24}, {137, 40}}) {
    IpAddress from = link_local_from(kMac);
    Frame message(static_cast<std::size_t>(size));
    message[0] = static_cast<std::uint8_t>(type);
    CHECK(accepted(from, testing::kV6Guest, message));
    message.pop_back();
    CHECK_FALSE(accepted(from, testing::kV6Guest, message));
  }
}

TEST_CASE("an NDP message with another code, type, checksum or in fragments is refused") {
  Frame message = solicit(testing::kV6Peer);
  message[1] = 1;
  CHECK_FALSE(accepted(testing::kV6Guest, testing::kV6Peer, message));
  for (std::uint8_t type : {132, 138, 128}) {
    message = solicit(testing::kV6Peer);
    message[0] = type;
    CHECK_FALSE(accepted(testing::kV6Guest, testing::kV6Peer, message));
  }
  Frame bytes = packet(testing::kV6Guest, testing::kV6Peer, solicit(testing::kV6Peer));
  bytes.back() ^= 1;
  CHECK_FALSE(parse(bytes));
}

TEST_CASE("a solicitation or advert for a multicast target is refused") {
  CHECK_FALSE(accepted(testing::kV6Guest, testing::kV6Peer, solicit(all_nodes())));
  CHECK_FALSE(
      accepted(testing::kV6Peer, testing::kV6Guest, emitted(NeighborAdvert{all_nodes(), kMac})));
}

TEST_CASE("a solicitation from :: is a probe: to the solicited node, without link address") {
  Frame probe = emitted(NeighborSolicit{testing::kV6Peer, std::nullopt});
  CHECK(accepted(kUnspecified, solicited_node(testing::kV6Peer), probe));
  CHECK_FALSE(accepted(kUnspecified, testing::kV6Peer, probe));
  CHECK_FALSE(accepted(kUnspecified, solicited_node(testing::kV6Peer), solicit(testing::kV6Peer)));
  CHECK_FALSE(accepted(kUnspecified, all_routers(), emitted(RouterSolicit{kMac})));
  CHECK(accepted(kUnspecified, all_routers(), emitted(RouterSolicit{})));
}

TEST_CASE("a solicited advert to everybody is refused") {
  NeighborAdvert advert{testing::kV6Peer, kMac};
  CHECK(accepted(testing::kV6Peer, all_nodes(), emitted(advert)));
  advert.solicited = true;
  CHECK_FALSE(accepted(testing::kV6Peer, all_nodes(), emitted(advert)));
}

TEST_CASE("a router advert from another than a link-local address is refused") {
  CHECK_FALSE(accepted(testing::kV6Peer, all_nodes(), emitted(RouterAdvert{})));
  CHECK(accepted(link_local_from(kMac), all_nodes(), emitted(RouterAdvert{})));
}

TEST_CASE("prefix informations of another size or a length above 128 are refused") {
  Frame body(30);
  body[0] = 128;
  NdpOption option{NdpOptionType::prefix_information, body};
  CHECK(NdpPrefix::parse(option));
  body[0] = 129;
  CHECK_FALSE(NdpPrefix::parse(option));
  body[0] = 64;
  option.body = ConstBytes(body).first(22);
  CHECK_FALSE(NdpPrefix::parse(option));
}

TEST_CASE("addresses made from others are those of the RFCs") {
  CHECK(link_local_from(kMac).to_string() == "fe80::5054:ff:fe01:203");
  CHECK(solicited_node(*IpAddress::parse("2001:db8::1:abcd:1234")).to_string() ==
        "ff02::1:ffcd:1234");
}
