#include "dns/host_resolvers.h"

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;

namespace {

/// A file in a directory of the test's own.
struct ConfFile {
  ConfFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dns-test-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    path = directory / "resolv.conf";
  }
  ~ConfFile() { std::filesystem::remove_all(directory); }
  void replace(const std::string& text) {
    auto next = directory / "next";
    std::ofstream(next) << text;
    std::filesystem::rename(next, path);
  }

  std::filesystem::path directory;
  std::filesystem::path path;
};

std::vector<Endpoint> endpoints(std::initializer_list<const char*> texts) {
  std::vector<Endpoint> all;
  for (const auto* text : texts) all.push_back(endpoint(text));
  return all;
}

}  // namespace

TEST_CASE("the nameservers of a resolv.conf are read in order, and nothing else") {
  CHECK(dns::parse_resolv_conf("# nameserver 9.9.9.9\n"
                               "search example.com\n"
                               "nameserver 192.0.2.1\n"
                               "  nameserver\t2001:db8::53  # home\r\n"
                               "nameserverx 1.1.1.1\n"
                               "nameserver\n"
                               "nameserver fe80::1%eth0\n"
                               "nameserver resolver.example\n"
                               "nameserver 127.0.0.53") ==
        endpoints({"192.0.2.1:53", "[2001:db8::53]:53", "127.0.0.53:53"}));
  CHECK(dns::parse_resolv_conf("").empty());
  CHECK(dns::parse_resolv_conf(std::string(100000, '\n')).empty());
}

TEST_CASE("a resolver is given as an address, with or without a port") {
  CHECK(dns::parse_resolver("192.0.2.1").value() == endpoint("192.0.2.1:53"));
  CHECK(dns::parse_resolver("192.0.2.1:5353").value() == endpoint("192.0.2.1:5353"));
  CHECK(dns::parse_resolver("2001:db8::1").value() == endpoint("[2001:db8::1]:53"));
  CHECK(dns::parse_resolver("[2001:db8::1]").value() == endpoint("[2001:db8::1]:53"));
  CHECK(dns::parse_resolver("[2001:db8::1]:54").value() == endpoint("[2001:db8::1]:54"));
  for (const char* bad : {"", "dns.example", "192.0.2.1:", "192.0.2.1:99999", "[192.0.2.1", "[]"}) {
    auto refused = dns::parse_resolver(bad);
    REQUIRE_FALSE(refused);
    CHECK(refused.status().message().find("ADDRESS:PORT") != std::string::npos);
  }
}

TEST_CASE("a resolver over TLS is written with the name in its certificate") {
  DnsResolver expected(endpoint("192.0.2.1:853"), "dot.example");
  CHECK(dns::parse_resolver("tls://192.0.2.1#dot.example").value() == expected);
  CHECK(dns::parse_resolver("192.0.2.1#DOT.example.").value() == expected);
  CHECK(dns::parse_resolver(expected.to_string()).value() == expected);
  CHECK(dns::parse_resolver("tls://[2001:db8::1]:8853#2001:DB8:0::1").value() ==
        DnsResolver(endpoint("[2001:db8::1]:8853"), "2001:db8::1"));
  for (const char* bad : {"tls://192.0.2.1", "tls://192.0.2.1#", "192.0.2.1#", "#dot.example",
                          "tls://dot.example#dot.example", "192.0.2.1#a..b"}) {
    CHECK_FALSE(dns::parse_resolver(bad));
  }
}

TEST_CASE("a change of the host's resolvers is noticed within a second") {
  ConfFile file;
  file.replace("nameserver 192.0.2.1\n");
  VirtualLoop loop;
  std::vector<std::vector<Endpoint>> lists;
  dns::HostResolvers resolvers(loop, file.path.string(), [&](std::vector<Endpoint> list) {
    lists.push_back(std::move(list));
  });
  CHECK(lists.empty());
  loop.run_ready();
  REQUIRE(lists.size() == 1);
  CHECK(lists[0] == endpoints({"192.0.2.1:53"}));

  file.replace("nameserver 192.0.2.2\nnameserver 192.0.2.3\n");
  loop.advance(1s);
  REQUIRE(lists.size() == 2);
  CHECK(lists[1] == endpoints({"192.0.2.2:53", "192.0.2.3:53"}));

  SECTION("the same list written again is no change") {
    file.replace("# again\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n");
    loop.advance(5s);
    CHECK(lists.size() == 2);
  }
  SECTION("a file that is away for a while changes nothing") {
    std::filesystem::remove(file.path);
    loop.advance(5s);
    CHECK(lists.size() == 2);
    file.replace("nameserver 192.0.2.4\n");
    loop.advance(1s);
    CHECK(lists.size() == 3);
  }
  SECTION("a link that leads elsewhere is a change") {
    std::ofstream(file.directory / "stub") << "nameserver 127.0.0.53\n";
    std::filesystem::create_symlink("stub", file.directory / "link");
    std::filesystem::rename(file.directory / "link", file.path);
    loop.advance(1s);
    REQUIRE(lists.size() == 3);
    CHECK(lists[2] == endpoints({"127.0.0.53:53"}));
  }
  SECTION("a file without resolvers is an empty list") {
    file.replace("search example\n");
    loop.advance(1s);
    REQUIRE(lists.size() == 3);
    CHECK(lists[2].empty());
  }
}

TEST_CASE("a host without resolv.conf has no resolvers until there is one") {
  ConfFile file;
  VirtualLoop loop;
  std::vector<Endpoint> last;
  dns::HostResolvers resolvers(loop, file.path.string(),
                               [&](std::vector<Endpoint> list) { last = std::move(list); });
  loop.advance(10s);
  CHECK(last.empty());
  file.replace("nameserver 192.0.2.1\n");
  loop.advance(1s);
  CHECK(last == endpoints({"192.0.2.1:53"}));
}
