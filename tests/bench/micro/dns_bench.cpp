#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "core/dns_path.h"
#include "dns/answer.h"
#include "dns/query.h"
#include "wire/dns_writer.h"

using namespace sluice;
using namespace sluice::test;
using wire::DnsMessage;
using wire::DnsSection;
using wire::DnsType;

namespace {

const wire::DnsQuestion kQuestion{wire::DnsName(domain("www.example.com")), DnsType::a};

std::vector<std::uint8_t> question() {
  wire::DnsWriter writer({.id = 1, .recursion_desired = true}, wire::kDnsMinUdpBytes);
  writer.question(kQuestion);
  writer.edns({.udp_bytes = wire::kDnsEdnsUdpBytes}, std::nullopt);
  return std::move(writer).finish();
}

/// An alias and two addresses.
std::vector<std::uint8_t> answer() {
  wire::DnsName alias(domain("cdn.example.net"));
  wire::DnsWriter writer({.id = 1, .response = true}, wire::kDnsMinUdpBytes);
  writer.question(kQuestion);
  std::vector<std::uint8_t> target(alias.wire().begin(), alias.wire().end());
  writer.record(DnsSection::answer, kQuestion.name, DnsType::cname, 300, target);
  for (std::uint8_t last : {1, 2}) {
    writer.record(DnsSection::answer, alias, DnsType::a, 300,
                  std::vector<std::uint8_t>{198, 51, 100, last});
  }
  return std::move(writer).finish();
}

}  // namespace

TEST_CASE("messages are read", "[dns]") {
  auto query = question(), reply = answer();
  auto check = [&] { return dns::check_query(query, dns::Transport::udp, wire::kDnsEdnsUdpBytes); };
  REQUIRE(check().query);
  BENCHMARK("parse and check a question") {
    return check();
  };
  BENCHMARK("parse an answer of 3 records") {
    return DnsMessage::parse(reply);
  };
  auto parsed = DnsMessage::parse(reply);
  REQUIRE(parsed);
  auto keep = [&] { return dns::keep_chain(*parsed, kQuestion.name, kQuestion.type); };
  REQUIRE(keep()->records.size() == 3);
  BENCHMARK("check and copy its chain") {
    return keep();
  };
}

TEST_CASE("a question that the cache answers, from the guest's frame to that of the answer",
          "[dns]") {
  EngineWorld world(EngineWorld::with_rules("allow@*.example.com"));
  DnsPath path(world);
  auto query = path.cached_query("www.example.com");
  world.nic->give(query);
  REQUIRE(path.answered().size() == 1);

  BENCHMARK("cached answer, frame to frame") {
    world.nic->give(query);
    world.nic->frames.clear();
  };
}
