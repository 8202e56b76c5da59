#include "agent/net/netlink_message.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

using namespace sluice;
using namespace sluice::agent;
using namespace std::chrono_literals;

namespace {

using Bytes8 = std::vector<std::uint8_t>;

Bytes8 finish(NetlinkRequest request) {
  ConstBytes bytes = request.finish(1);
  return {bytes.begin(), bytes.end()};
}

std::optional<NetlinkMessage> first(const Bytes8& bytes) {
  return NetlinkReader(bytes).next();
}

Bytes8 link_message() {
  ifinfomsg info{};
  info.ifi_index = 7;
  info.ifi_type = ARPHRD_ETHER;
  info.ifi_flags = IFF_UP | IFF_LOWER_UP;
  NetlinkRequest message(RTM_NEWLINK, 0, info);
  message.add_text(IFLA_IFNAME, "eth0");
  message.add(IFLA_ADDRESS, MacAddress({2, 0, 0, 0, 0, 7}).bytes());
  message.add32(IFLA_MTU, 1500);
  message.add32(IFLA_MAX_MTU, 65535);
  std::size_t nested = message.begin(IFLA_LINKINFO);
  message.add_text(IFLA_INFO_KIND, "veth");
  message.end(nested);
  return finish(message);
}

Bytes8 address_message() {
  ifaddrmsg info{};
  info.ifa_family = AF_INET6;
  info.ifa_prefixlen = 64;
  info.ifa_index = 7;
  NetlinkRequest message(RTM_NEWADDR, 0, info);
  message.add_address(IFA_ADDRESS, *IpAddress::parse("fd00::2"));
  message.add32(IFA_FLAGS, IFA_F_TENTATIVE | IFA_F_NODAD);
  ifa_cacheinfo times{};
  times.ifa_prefered = 100;
  times.ifa_valid = 200;
  message.add(IFA_CACHEINFO, bytes_of(times));
  return finish(message);
}

Bytes8 route_message() {
  rtmsg info{};
  info.rtm_family = AF_INET;
  info.rtm_table = RT_TABLE_MAIN;
  info.rtm_type = RTN_UNICAST;
  info.rtm_protocol = RTPROT_RA;
  NetlinkRequest message(RTM_NEWROUTE, 0, info);
  message.add_address(RTA_GATEWAY, IpAddress::v4(10, 0, 0, 1));
  message.add32(RTA_OIF, 7);
  message.add32(RTA_PRIORITY, 1024);
  return finish(message);
}

Bytes8 router_dns_message() {
  // RDNSS with one server, then DNSSL with "vm.internal" and padding (RFC 8106).
  Bytes8 options{25, 3, 0, 0, 0, 0, 0, 60};
  IpAddress server = *IpAddress::parse("fd00::1");
  options.insert(options.end(), server.bytes().begin(), server.bytes().end());
  options.insert(options.end(), {31,  3,   0,   0,   0,   0,   0,   30,  2, 'v', 'm', 8,
                                 'i', 'n', 't', 'e', 'r', 'n', 'a', 'l', 0, 0,   0,   0});
  nduseroptmsg info{};
  info.nduseropt_family = AF_INET6;
  info.nduseropt_opts_len = static_cast<unsigned short>(options.size());
  info.nduseropt_ifindex = 7;
  info.nduseropt_icmp_type = 134;
  NetlinkRequest message(RTM_NEWNDUSEROPT, 0, info);
  message.append(options);
  message.add_address(NDUSEROPT_SRCADDR, *IpAddress::parse("fe80::1"));
  return finish(message);
}

}  // namespace

TEST_CASE("a link is read with what decides about it") {
  auto link = parse_link(*first(link_message()));
  REQUIRE(link.has_value());
  CHECK(link->index == 7);
  CHECK(link->name == "eth0");
  CHECK(link->mac == MacAddress({2, 0, 0, 0, 0, 7}));
  CHECK(link->mtu == 1500);
  CHECK(link->max_mtu == 65535);
  CHECK(link->up);
  CHECK(link->carrier);
  CHECK(link->ethernet);
  CHECK(link->kind == "veth");
}

TEST_CASE("an address is read with its state and lifetimes") {
  auto address = parse_address(*first(address_message()));
  REQUIRE(address.has_value());
  CHECK(address->address == *IpAddress::parse("fd00::2"));
  CHECK(address->prefix_length == 64);
  CHECK(address->tentative);
  CHECK(address->dynamic);
  CHECK(address->duplicate_check == DuplicateCheck::left_out);
  CHECK(address->preferred == 100s);
  CHECK(address->valid == 200s);
}

TEST_CASE("a default route is read, those of other tables and kinds are not") {
  auto route = parse_route(*first(route_message()));
  REQUIRE(route.has_value());
  CHECK(route->destination == *IpPrefix::parse("0.0.0.0/0"));
  CHECK(route->gateway == IpAddress::v4(10, 0, 0, 1));
  CHECK(route->link == 7);
  CHECK(route->metric == 1024);
  CHECK(route->by_advert);
  for (auto [at, value] : {std::pair{4, 255}, std::pair{7, int(RTN_BLACKHOLE)}}) {
    auto other = route_message();
    other[NLMSG_HDRLEN + static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
    CHECK_FALSE(parse_route(*first(other)).has_value());
  }
}

TEST_CASE("resolvers of a router advertisement are read") {
  auto dns = parse_router_dns(*first(router_dns_message()));
  REQUIRE(dns.has_value());
  CHECK(dns->link == 7);
  CHECK(dns->router == *IpAddress::parse("fe80::1"));
  CHECK(dns->servers == std::vector{*IpAddress::parse("fd00::1")});
  CHECK(dns->servers_lifetime == 60s);
  CHECK(dns->search == std::vector{*DomainName::parse("vm.internal")});
  CHECK(dns->search_lifetime == 30s);
}

TEST_CASE("messages and attributes cut anywhere are read no further than they go") {
  for (const Bytes8& whole :
       {link_message(), address_message(), route_message(), router_dns_message()}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // A copy of its own size, so that a sanitizer sees a read beyond it.
      Bytes8 cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_FALSE(first(cut).has_value());
      if (size < NLMSG_HDRLEN) continue;
      // The same with a length that fits, so that it is the body that is cut.
      std::uint32_t length = static_cast<std::uint32_t>(size);
      std::memcpy(cut.data(), &length, sizeof length);
      auto message = first(cut);
      REQUIRE(message.has_value());
      parse_change(*message);
    }
  }
}

TEST_CASE("any byte of a message may be wrong") {
  for (const Bytes8& whole :
       {link_message(), address_message(), route_message(), router_dns_message()}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
        Bytes8 bad = whole;
        bad[at] = static_cast<std::uint8_t>(value);
        NetlinkReader reader(bad);
        int messages = 0;
        while (auto message = reader.next()) {
          parse_change(*message);
          REQUIRE(++messages < 100);
        }
      }
    }
  }
}

TEST_CASE("a prefix longer than its address is not believed") {
  auto bytes = address_message();
  bytes[NLMSG_HDRLEN + 1] = 129;
  CHECK_FALSE(parse_address(*first(bytes)).has_value());
  auto route = route_message();
  route[NLMSG_HDRLEN + 1] = 33;
  CHECK_FALSE(parse_route(*first(route)).has_value());
}

TEST_CASE("the kernel's error and its words are read") {
  nlmsgerr error{};
  error.error = -EEXIST;
  NetlinkRequest message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, error);
  message.add_text(NLMSGERR_ATTR_MSG, "Address already assigned");
  auto read = parse_error(*first(finish(message)));
  CHECK(read.error == EEXIST);
  CHECK(read.message == "Address already assigned");
  CHECK(parse_error(*first(finish(NetlinkRequest(NLMSG_DONE, 0, std::int32_t{0})))).error == 0);
  CHECK(parse_error(*first(finish(NetlinkRequest(NLMSG_ERROR, 0, ConstBytes())))).error == EPROTO);
  CHECK(parse_error(*first(finish(NetlinkRequest(NLMSG_ERROR, 0, std::int32_t{5})))).error ==
        EPROTO);
}
