#include "policy/group.h"

#include "policy/support.h"

namespace sluice::policy {
namespace {

std::string text_of(GroupSet set) {
  std::string out;
  for (int i = 1; i < kGroupCount; ++i) {
    auto group = static_cast<Group>(i);
    if (set.has(group)) out += (out.empty() ? "" : " ") + std::string(to_string(group));
  }
  return out;
}

struct Case {
  const char* address;
  const char* for_allow;
  const char* for_deny;
};

void check_all(std::initializer_list<Case> cases) {
  GroupMap map(test_host());
  for (const Case& c : cases) {
    INFO(c.address);
    Membership groups = map.groups_of(ip(c.address));
    CHECK(text_of(groups.for_allow) == c.for_allow);
    CHECK(text_of(groups.for_deny) == c.for_deny);
    CHECK(groups.for_allow.has(Group::any));
    CHECK(groups.for_deny.has(Group::any));
  }
}

TEST_CASE("an address of the internet is public") {
  check_all({{"1.1.1.1", "public", "public"},
             {"223.255.255.255", "public", "public"},
             {"100.63.255.255", "public", "public"},
             {"2606:4700::1111", "public", "public"},
             {"2001:4860:4860::8888", "public", "public"}});
}

TEST_CASE("private, loopback, link-local and multicast addresses are in their groups") {
  check_all({{"10.1.2.3", "private", "private"},
             {"172.31.255.255", "private", "private"},
             {"172.32.0.0", "public", "public"},
             {"100.64.0.1", "private", "private"},
             {"fd00::1", "private", "private"},
             {"fec0::1", "private", "private"},
             {"127.0.0.1", "loopback", "loopback"},
             {"::1", "loopback", "loopback"},
             {"0.0.0.0", "loopback", "loopback"},
             {"::", "loopback", "loopback"},
             {"169.254.1.1", "link-local", "link-local"},
             {"fe80::1", "link-local", "link-local"},
             {"224.0.0.251", "multicast", "multicast"},
             {"ff02::fb", "multicast", "multicast"}});
}

TEST_CASE("a reserved range is never public") {
  for (const char* address :
       {"0.1.2.3", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1",
        "240.0.0.1", "255.255.255.255", "100::1", "2001:db8::1", "2001:10::1", "3fff::1", "4000::1",
        "5f00::1", "64:ff9b:1::1"}) {
    check_all({{address, "", ""}});
  }
}

TEST_CASE("every metadata endpoint is metadata, and only that for an allow") {
  check_all({{"169.254.169.254", "metadata", "link-local metadata"},
             {"169.254.170.2", "metadata", "link-local metadata"},
             {"100.100.100.200", "metadata", "private metadata"},
             {"168.63.129.16", "metadata", "public metadata"},
             {"fd00:ec2::254", "metadata", "private metadata"},
             {"fd20:ce::254", "metadata", "private metadata"},
             {"fe80::a9fe:a9fe", "metadata", "link-local metadata"},
             {"::ffff:169.254.169.254", "metadata", "link-local metadata"}});
}

TEST_CASE("the host's own addresses are host and private, never public") {
  check_all({{"8.8.4.4", "private host", "private host"},
             {"2600:1::20", "private host", "private host"},
             {"192.168.1.20", "private host", "private host"}});
}

TEST_CASE("what is on a link of the host's is private, never public") {
  check_all({{"2600:1::99", "private", "private"},
             {"203.0.113.9", "private", "private"},
             {"192.168.1.1", "private", "private"}});
}

TEST_CASE("gateway and host alias are host, and only that for an allow") {
  check_all({{"192.168.127.1", "host", "private host guests"},
             {"192.168.127.254", "host", "private host guests"},
             {"fd5a::1", "host", "private host guests"}});
}

TEST_CASE("the guests' subnets are guests, and only that for an allow") {
  check_all(
      {{"192.168.127.3", "guests", "private guests"}, {"fd5a::77", "guests", "private guests"}});
}

TEST_CASE("an IPv6 form of an IPv4 address is judged by the inner address") {
  for (auto [inner, groups] : std::initializer_list<std::pair<const char*, const char*>>{
           {"0a00:0001", "private"}, {"7f00:0001", "loopback"}, {"0101:0101", "public"}}) {
    std::string v4 = inner, low = v4.substr(0, 4) + ":" + v4.substr(5);
    check_all({{("::ffff:" + low).c_str(), groups, groups},
               {("::" + low).c_str(), groups, groups},
               {("::ffff:0:" + low).c_str(), groups, groups},
               {("64:ff9b::" + low).c_str(), groups, groups},
               {("2002:" + low + "::1").c_str(), groups, groups}});
  }
  check_all({{"2001:0:4136:e378:8000:63bf:f5ff:fffe", "private", "private"},  // 10.0.0.1
             {"2001:0:4136:e378:8000:63bf:fefe:fefe", "public", "public"}});  // 1.1.1.1
}

TEST_CASE("an ISATAP address is public only if both of its halves are") {
  check_all({{"2606:4700::5efe:1.1.1.1", "public", "public"},
             {"2606:4700::200:5efe:1.1.1.1", "public", "public"},
             {"2606:4700::5efe:10.0.0.1", "", "public private"},
             {"fd00::5efe:1.1.1.1", "", "public private"},
             {"2600:1::5efe:1.1.1.1", "", "public private"}});
}

TEST_CASE("the forms of the gateway's address are the gateway's") {
  check_all({{"::ffff:192.168.127.1", "host", "private host guests"}});
}

TEST_CASE("without any word of the host the table alone decides") {
  GroupMap map({});
  CHECK(map.groups_of(ip("192.168.127.1")).for_allow.has(Group::private_));
  CHECK(map.groups_of(ip("8.8.4.4")).for_allow.has(Group::public_));
}

}  // namespace
}  // namespace sluice::policy
