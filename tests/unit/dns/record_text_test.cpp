#include <catch2/catch.hpp>

#include <fmt/format.h>

#include <string>

#include "dns/record_text.h"

using namespace sluice;
using dns::parse_record;

namespace {

/// "owner type ttl rdata", bytes that are no letters, digits or common signs as \xx.
std::string shown(std::string_view text) {
  auto record = parse_record(text);
  if (!record) return record.status().message();
  std::string data;
  for (auto byte : record->rdata) {
    bool plain = byte > ' ' && byte < 127 && byte != '\\';
    data += plain ? std::string(1, static_cast<char>(byte)) : fmt::format("\\{:02x}", byte);
  }
  return fmt::format("{} {} {} {}", record->owner.to_string(), static_cast<int>(record->type),
                     record->ttl_seconds, data);
}

}  // namespace

TEST_CASE("a record is read in the manner of a zone file") {
  struct Row {
    const char* text;
    const char* record;
  };
  auto row = GENERATE(
      Row{"db.corp.example A 80.81.82.83", "db.corp.example 1 60 PQRS"},
      Row{" DB.Corp.example.\t5  a   80.81.82.83 ", "db.corp.example 1 5 PQRS"},
      Row{"v6.example AAAA 4141:4242::5050",
          "v6.example 28 60 AABB\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00PP"},
      Row{"www.example CNAME web.example", "www.example 5 60 \\03web\\07example\\00"},
      Row{"example 300 MX 10 mail.example.", "example 15 300 \\00\\0a\\04mail\\07example\\00"},
      Row{"example NS ns.example", "example 2 60 \\02ns\\07example\\00"},
      Row{"_ldap._tcp.example SRV 1 2 389 ldap.example",
          "_ldap._tcp.example 33 60 \\00\\01\\00\\02\\01\\85\\04ldap\\07example\\00"},
      Row{"_none._tcp.example SRV 0 0 0 .",
          "_none._tcp.example 33 60 \\00\\00\\00\\00\\00\\00\\00"},
      Row{"t.example TXT v=spf1 -all", "t.example 16 60 \\0bv=spf1\\20-all"},
      Row{R"(t.example TXT "one" "t\"w\\o\010")", R"(t.example 16 60 \03one\06t"w\5co\0a)"},
      Row{R"(t.example TXT "")", "t.example 16 60 \\00"},
      Row{R"(example CAA 128 issue "ca.example")", "example 257 60 \\80\\05issueca.example"},
      Row{"example CAA 0 iodef mailto:a@b", "example 257 60 \\00\\05iodefmailto:a@b"},
      Row{"1.0.0.10.in-addr.arpa PTR a.b", "1.0.0.10.in-addr.arpa 12 60 \\01a\\01b\\00"},
      Row{"10.0.0.1 PTR a.b", "1.0.0.10.in-addr.arpa 12 60 \\01a\\01b\\00"},
      Row{"fd00::1 PTR a.b",
          "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa 12 60 "
          "\\01a\\01b\\00"});
  CHECK(shown(row.text) == row.record);
}

TEST_CASE("a TXT value of more than 255 bytes becomes several strings") {
  auto record = parse_record("t.example TXT " + std::string(300, 'x'));
  REQUIRE(record);
  CHECK(record->rdata.size() == 302);
  CHECK(record->rdata[0] == 255);
  CHECK(record->rdata[256] == 45);
}

TEST_CASE("a record that can't be served is refused with its text, its fault and the fix") {
  struct Row {
    std::string text;
    const char* part;
  };
  auto row = GENERATE(
      Row{"", "the form is NAME [TTL] TYPE VALUE"}, Row{"a.b", "the form is NAME"},
      Row{"a.b 60", "the form is NAME"}, Row{"a.b A", "the value is missing"},
      Row{"a.b A 10.0.0.256", "'10.0.0.256' is not an IPv4 address"},
      Row{"a.b A ::1", "not an IPv4"}, Row{"a.b AAAA 10.0.0.1", "not an IPv6"},
      Row{"a.b SPF x", "'SPF' is not a type that can be served; A, AAAA"},
      Row{"a.b 604801 A 10.0.0.1", "'604801' is not a TTL"},
      Row{"a.b 6x A 10.0.0.1", "'6x' is not a TTL"},
      Row{"*.a.b A 10.0.0.1", "wildcards are not served"},
      Row{". A 10.0.0.1", "the root can't have records"}, Row{"a..b A 10.0.0.1", "an empty label"},
      Row{"a.b CNAME x y", "'x y' is not a name"}, Row{"a.b MX mail.example", "PREFERENCE NAME"},
      Row{"a.b MX 65536 mail.example", "PREFERENCE"}, Row{"a.b MX 10", "a name is missing"},
      Row{"a.b SRV 1 2 x", "PRIORITY WEIGHT PORT NAME"}, Row{R"(a.b TXT "x)", "closing quote"},
      Row{R"(a.b TXT "x" y)", "only another one"}, Row{R"(a.b TXT "\25")", "three digits"},
      Row{R"(a.b TXT "\256")", "three digits"}, Row{"a.b TXT \"\\", "three digits"},
      Row{"a.b TXT " + std::string(5000, 'x'), "longer than"}, Row{"a.b CAA 0 issue", "FLAGS TAG"},
      Row{"a.b CAA 256 issue x", "FLAGS TAG"}, Row{"a.b CAA 0 is-sue x", "FLAGS TAG"},
      Row{R"(a.b CAA 0 issue "x" y)", "nothing can follow"});
  auto record = parse_record(row.text);
  REQUIRE_FALSE(record);
  INFO(record.status().message());
  CHECK(record.status().message().find(row.part) != std::string::npos);
  CHECK(record.status().message().find("DNS record '" + row.text.substr(0, 120)) == 0);
}
