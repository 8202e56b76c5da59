#include <catch2/catch.hpp>

#include "dns/record_change.h"
#include "dns/record_print.h"
#include "dns/record_text.h"
#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::change_records;
using dns::RecordSet;
using Lines = std::vector<std::string>;

namespace {

RecordSet make_set(const Lines& records, const Lines& zones = {}) {
  std::vector<DomainName> names;
  for (const auto& zone : zones) names.push_back(domain(zone));
  return *dns::parse_record_set(records, names);
}

std::string line(const DnsRecord& record) {
  return fmt::format("{} {} {} {}", record.name.text(), record.ttl_seconds, record.type,
                     record.value);
}

Lines lines(const RecordSet& set) {
  Lines out;
  for (const auto& record : set.list()) out.push_back(line(*dns::describe_record(record)));
  return out;
}

Lines lost(const dns::RecordChange& change) {
  Lines out;
  for (const auto& [name, address] : change.lost_addresses) {
    out.push_back(name.text() + " " + address.to_string());
  }
  for (const auto& name : change.lost_aliases) out.push_back(name.text());
  return out;
}

}  // namespace

TEST_CASE("a record is described as it can be read again") {
  auto text = GENERATE(as<std::string>(), "a.test 7 A 10.0.0.5", "a.test 60 AAAA 2001:db8::5",
                       "a.test 60 CNAME b.test", "a.test 60 MX 10 mail.test",
                       "a.test 60 NS ns.test", "_x._tcp.test 60 SRV 1 2 389 b.test",
                       "a.test 60 TXT \"two words\" \"q\\\"b\\\\\\007\\255\"",
                       "a.test 60 CAA 128 issue \"ca.test\"", "5.0.0.10.in-addr.arpa 60 PTR a.test",
                       "a.test 0 TXT \"\"");
  auto described = dns::describe_record(*dns::parse_record(text));
  REQUIRE(described);
  CHECK(line(*described) == text);
}

TEST_CASE("data that is malformed for its type is not described") {
  using wire::DnsType;
  using Rdata = std::vector<std::uint8_t>;
  auto [type, rdata] = GENERATE(table<DnsType, Rdata>({{DnsType::a, {1, 2, 3}},
                                                       {DnsType::mx, {1}},
                                                       {DnsType::mx, {0, 1, 9}},
                                                       {DnsType::cname, {}},
                                                       {DnsType::txt, {5, 'a'}},
                                                       {DnsType::caa, {0}},
                                                       {DnsType::caa, {0, 9, 'a'}},
                                                       {DnsType::https, {0, 1, 0}}}));
  CHECK_FALSE(dns::describe_record({wire_name("a.test"), type, 60, rdata}));
}

TEST_CASE("a change takes away before it adds, and leaves the rest") {
  auto before = make_set({"a.test A 10.0.0.1", "a.test A 10.0.0.2", "b.test A 10.0.0.3"}, {"test"});
  DnsChange change;
  change.remove_records = {{domain("a.test"), "A", ""}};
  change.add_records = {"a.test A 10.0.0.2", "c.test A 10.0.0.4"};
  change.add_zones = {domain("corp.test")};
  change.remove_zones = {domain("test")};
  auto after = change_records(before, change);
  REQUIRE(after);
  CHECK(lines(after->records) ==
        Lines{"a.test 60 A 10.0.0.2", "b.test 60 A 10.0.0.3", "c.test 60 A 10.0.0.4"});
  CHECK(after->records.zone_list() == std::vector{domain("corp.test")});
  CHECK(lost(*after) == Lines{"a.test 10.0.0.1"});
}

TEST_CASE("a record that is added again has the new TTL and loses nothing") {
  DnsChange change;
  change.add_records = {"a.test 9 A 10.0.0.1"};
  auto after = change_records(make_set({"a.test A 10.0.0.1"}), change);
  CHECK(lines(after->records) == Lines{"a.test 9 A 10.0.0.1"});
  CHECK(lost(*after).empty());
}

TEST_CASE("names that lead to a removed record by aliases lose its address too") {
  auto before = make_set(
      {"a.test A 10.0.0.1", "b.test CNAME a.test", "c.test CNAME b.test", "d.test A 10.0.0.1"});
  DnsChange change;
  change.remove_records = {{domain("a.test"), "", ""}};
  auto after = change_records(before, change);
  CHECK(lost(*after) == Lines{"a.test 10.0.0.1", "b.test 10.0.0.1", "c.test 10.0.0.1"});
}

TEST_CASE("an alias that is removed takes along what it gave, of which outside nothing is known") {
  auto before = make_set({"a.test A 10.0.0.1", "in.test CNAME a.test", "out.test CNAME x.example"});
  DnsChange change;
  change.remove_records = {{domain("in.test"), "CNAME", ""}, {domain("out.test"), "", ""}};
  CHECK(lost(*change_records(before, change)) == Lines{"in.test 10.0.0.1", "out.test"});
}

TEST_CASE("a change with a record that can't be is refused") {
  DnsChange change;
  change.add_records = {GENERATE("a.test A x", "a.test CNAME b.test", "c.test CNAME c.test")};
  CHECK_FALSE(change_records(make_set({"a.test A 10.0.0.1"}), change));
}
