#include <catch2/catch.hpp>

#include "dns/record_text.h"
#include "dns_world.h"

using namespace sluice;
using namespace sluice::test;
using dns::LookupVerdict;
using dns::Origin;
using wire::DnsRcode;
using wire::DnsType;
using Answers = std::vector<std::string>;

namespace {

Result<dns::RecordSet> make_set(const std::vector<std::string>& texts,
                                const std::vector<std::string>& zones = {}) {
  std::vector<dns::Record> records;
  for (const auto& text : texts) {
    auto record = dns::parse_record(text);
    REQUIRE(record);
    records.push_back(*record);
  }
  std::vector<DomainName> names;
  for (const auto& zone : zones) names.push_back(domain(zone));
  return dns::RecordSet::make(std::move(records), std::move(names));
}

struct RecordWorld : DnsWorld {
  explicit RecordWorld(const std::vector<std::string>& texts,
                       const std::vector<std::string>& zones = {}, dns::Hooks hooks = {})
      : DnsWorld({}, std::move(hooks)) {
    add_upstream("192.0.2.1:53", resolver_with("198.51.100.1"));
    service->local_zone().set_addresses(domain("host.vm.internal"),
                                        {*IpAddress::parse("10.0.0.3")});
    auto set = make_set(texts, zones);
    REQUIRE(set);
    service->set_records(std::move(*set));
  }
};

}  // namespace

TEST_CASE("the owner's records are answered by type, with authority, and never leave") {
  RecordWorld world(
      {"db.corp.test A 10.0.0.5", "db.corp.test A 10.0.0.6", "db.corp.test 9 AAAA fd00::5",
       "corp.test MX 10 mail.corp.test", "corp.test TXT hello", "10.0.0.5 PTR db.corp.test"},
      {"corp.test"});
  auto seen = world.ask("DB.corp.test", DnsType::a);
  CHECK(seen.answers == Answers{"DB.corp.test 1 10.0.0.5", "DB.corp.test 1 10.0.0.6"});
  CHECK(seen.ttls == std::vector<std::uint32_t>{60, 60});
  CHECK(seen.header.authoritative);
  CHECK(world.ask("db.corp.test", DnsType::aaaa).ttls == std::vector<std::uint32_t>{9});
  CHECK(world.ask("corp.test", DnsType::mx).answers.size() == 1);
  CHECK(world.ask("corp.test", DnsType::txt).answers.size() == 1);
  CHECK(world.ask("5.0.0.10.in-addr.arpa", DnsType::ptr).answers ==
        Answers{"5.0.0.10.in-addr.arpa 12 db.corp.test"});
  CHECK(world.asked.empty());
}

TEST_CASE("in a zone of the owner's, what has no record is answered negatively with its SOA") {
  RecordWorld world({"a.b.corp.test A 10.0.0.5"}, {"corp.test", "deep.corp.test"});
  struct Row {
    const char* name;
    DnsType type;
    DnsRcode rcode;
    const char* zone;
  };
  auto row = GENERATE(Row{"a.b.corp.test", DnsType::aaaa, DnsRcode::no_error, "corp.test"},
                      Row{"b.corp.test", DnsType::a, DnsRcode::no_error, "corp.test"},
                      Row{"corp.test", DnsType::a, DnsRcode::no_error, "corp.test"},
                      Row{"x.corp.test", DnsType::a, DnsRcode::name_error, "corp.test"},
                      Row{"x.a.b.corp.test", DnsType::a, DnsRcode::name_error, "corp.test"},
                      Row{"x.deep.corp.test", DnsType::a, DnsRcode::name_error, "deep.corp.test"});
  auto seen = world.ask(row.name, row.type);
  CHECK(seen.rcode == row.rcode);
  CHECK(seen.answers.empty());
  CHECK(seen.soa_owner == row.zone);
  CHECK(world.asked.empty());
}

TEST_CASE("a record outside every zone makes its own name local and no other") {
  RecordWorld world({"api.example.com A 10.0.0.5"});
  CHECK(world.ask("api.example.com", DnsType::a).answers == Answers{"api.example.com 1 10.0.0.5"});
  CHECK(world.ask("api.example.com", DnsType::txt).answers.empty());
  CHECK(world.asked.empty());
  for (const char* name : {"x.api.example.com", "example.com", "www.example.com"}) {
    CHECK(world.ask(name, DnsType::a).answers.size() == 1);
    CHECK(world.asked.back() == name);
  }
}

TEST_CASE("records add names to the local zone, which keeps its own") {
  RecordWorld world({"_http._tcp.web.vm.internal SRV 0 0 80 web.vm.internal"}, {"internal"});
  CHECK(world.ask("host.vm.internal", DnsType::a).answers.size() == 1);
  CHECK(world.ask("_http._tcp.web.vm.internal", DnsType::srv).answers.size() == 1);
  CHECK(world.ask("web.vm.internal", DnsType::a).rcode == DnsRcode::no_error);
  CHECK(world.ask("other.vm.internal", DnsType::a).rcode == DnsRcode::name_error);
  CHECK(world.asked.empty());
}

TEST_CASE("an alias is followed from one local name to the next") {
  RecordWorld world({"www.corp.test CNAME web.corp.test", "web.corp.test CNAME host.vm.internal",
                     "gone.corp.test CNAME nobody.corp.test"},
                    {"corp.test"});
  CHECK(world.ask("www.corp.test", DnsType::a).answers ==
        Answers{"www.corp.test 5 web.corp.test", "web.corp.test 5 host.vm.internal",
                "host.vm.internal 1 10.0.0.3"});
  CHECK(world.ask("www.corp.test", DnsType::cname).answers ==
        Answers{"www.corp.test 5 web.corp.test"});
  auto empty = world.ask("www.corp.test", DnsType::aaaa);
  CHECK(empty.answers.size() == 2);
  CHECK(empty.soa_owner == "vm.internal");
  auto gone = world.ask("gone.corp.test", DnsType::a);
  CHECK(gone.rcode == DnsRcode::name_error);
  CHECK(gone.answers.size() == 1);
  CHECK(world.asked.empty());
}

TEST_CASE("an alias that leads outside is followed upstream, and ages only there") {
  std::vector<std::string> notices;
  dns::Hooks hooks;
  hooks.on_answer = [&](const dns::AnswerNotice& notice) {
    std::string text = notice.origin == Origin::upstream ? "upstream:" : "own:";
    for (const auto& name : notice.names) text += " " + name.text();
    notices.push_back(text);
    return std::vector<std::size_t>();
  };
  RecordWorld world({"www.corp.test 500 CNAME web.corp.test", "web.corp.test CNAME cdn.example"},
                    {"corp.test"}, hooks);
  auto first = world.ask("WWW.corp.test", DnsType::a);
  CHECK(first.question == "WWW.corp.test");
  CHECK(first.answers == Answers{"WWW.corp.test 5 web.corp.test", "web.corp.test 5 cdn.example",
                                 "cdn.example 1 198.51.100.1"});
  world.loop.advance(10s);
  CHECK(world.ask("www.corp.test", DnsType::a).ttls == std::vector<std::uint32_t>{500, 60, 290});
  CHECK(world.asked == Answers{"cdn.example"});
  CHECK(notices[0] == "upstream: cdn.example www.corp.test web.corp.test");
}

TEST_CASE("an alias to a name that may not be asked is denied, and the name never leaves") {
  dns::Hooks hooks;
  hooks.may_query = [](const dns::Lookup& lookup) {
    return lookup.origin == Origin::upstream ? LookupVerdict::blocked : LookupVerdict::allow;
  };
  RecordWorld world({"www.corp.test CNAME evil.example"}, {"corp.test"}, hooks);
  auto seen = world.ask("www.corp.test", DnsType::a, {.edns_bytes = 1232});
  CHECK(seen.rcode == DnsRcode::name_error);
  CHECK(seen.answers.empty());
  CHECK(seen.extended_error == 15);
  CHECK(world.asked.empty());
}

TEST_CASE("records can be replaced while the service runs") {
  RecordWorld world({"a.corp.test A 10.0.0.5"}, {"corp.test"});
  world.service->set_records(*make_set({"b.corp.test A 10.0.0.6"}));
  CHECK(world.ask("b.corp.test", DnsType::a).answers == Answers{"b.corp.test 1 10.0.0.6"});
  CHECK(world.ask("a.corp.test", DnsType::a).answers == Answers{"a.corp.test 1 198.51.100.1"});
}

TEST_CASE("a record that is there twice counts once") {
  auto set = make_set({"a.test A 10.0.0.1", "A.test A 10.0.0.1"});
  REQUIRE(set);
  CHECK(set->records() == 1);
}

TEST_CASE("records that contradict each other are refused with the name and the fix") {
  struct Row {
    std::vector<std::string> records;
    std::string error;
  };
  std::vector<std::string> chain;
  for (int i = 0; i < 17; ++i) chain.push_back(fmt::format("c{}.test CNAME c{}.test", i, i + 1));
  std::vector<std::string> many;
  for (int i = 0; i < 10; ++i) many.push_back(fmt::format("m.test TXT {}{:04000}", i, 0));
  auto row = GENERATE_COPY(
      Row{{"a.test CNAME b.test", "a.test A 10.0.0.1"},
          "DNS record of a.test: a name with a CNAME"},
      Row{{"a.test A 10.0.0.1", "a.test CNAME b.test"},
          "DNS record of a.test: a name with a CNAME"},
      Row{{"a.test CNAME b.test", "a.test CNAME c.test"}, "DNS record of a.test: a name with"},
      Row{{"zone.test CNAME b.test"}, "DNS record of zone.test: a zone's own name"},
      Row{{"a.test CNAME a.test"}, "DNS record of a.test: its CNAMEs lead back"},
      Row{{"a.test CNAME b.test", "b.test CNAME a.test"},
          "DNS record of a.test: its CNAMEs lead back to themselves"},
      Row{chain, "more than 16; end the chain"}, Row{many, "DNS records of m.test: more than"});
  auto set = make_set(row.records, {"zone.test"});
  REQUIRE_FALSE(set);
  INFO(set.status().message());
  CHECK(set.status().message().find(row.error) != std::string::npos);
  CHECK_FALSE(make_set({}, {""}));
}
