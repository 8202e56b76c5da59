#include <catch2/catch.hpp>

#include "dns_world.h"
#include "wire/dns_rdata.h"

using namespace sluice;
using namespace sluice::test;
using wire::DnsMessage;
using wire::DnsName;
using wire::DnsRcode;
using wire::DnsSection;
using wire::DnsType;
using wire::DnsWriter;

namespace {

Message joined(std::initializer_list<Message> parts) {
  Message whole;
  for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

Message bytes_of(const DnsName& name) {
  return {name.wire().begin(), name.wire().end()};
}

}  // namespace

TEST_CASE("header flags and codes survive writing and reading") {
  wire::DnsHeader header;
  header.id = 0xbeef;
  header.response = header.authoritative = header.recursion_available = true;
  header.checking_disabled = true;
  header.rcode = 3;
  auto message = DnsWriter(header, 512).finish();
  auto read = DnsMessage::parse_header(message);
  REQUIRE(read);
  CHECK(read->id == 0xbeef);
  CHECK(read->response);
  CHECK(read->authoritative);
  CHECK_FALSE(read->truncated);
  CHECK_FALSE(read->recursion_desired);
  CHECK(read->recursion_available);
  CHECK_FALSE(read->authentic_data);
  CHECK(read->checking_disabled);
  CHECK(read->rcode == 3);
  CHECK_FALSE(DnsMessage::parse_header(ConstBytes(message).first(11)));
}

TEST_CASE("repeated names are written once, those that only begin like another are not confused") {
  DnsWriter writer({}, 512);
  writer.question({wire_name("a.a.example.com"), DnsType::a});
  auto target = bytes_of(wire_name("b.A.example.com"));
  REQUIRE(
      writer.record(DnsSection::answer, wire_name("a.a.example.com"), DnsType::cname, 1, target));
  REQUIRE(writer.record(DnsSection::answer, wire_name("b.a.example.com"), DnsType::a, 1,
                        Message{1, 2, 3, 4}));
  REQUIRE(writer.record(DnsSection::answer, wire_name("example.comx"), DnsType::a, 1,
                        Message{1, 2, 3, 4}));
  auto bytes = std::move(writer).finish();
  auto message = DnsMessage::parse(bytes);
  REQUIRE(message);
  REQUIRE(message->records().size() == 3);
  CHECK(message->records()[0].owner == wire_name("a.a.example.com"));
  CHECK(message->records()[0].rdata.size() == 4);
  CHECK(message->records()[1].owner == wire_name("b.a.example.com"));
  CHECK(message->records()[2].owner == wire_name("example.comx"));
}

TEST_CASE("a record that does not fit leaves the message as it was") {
  DnsWriter writer({}, 64);
  writer.question({wire_name("example.com"), DnsType::txt});
  CHECK_FALSE(writer.record(DnsSection::answer, wire_name("long.example.com"), DnsType::txt, 1,
                            Message(60)));
  CHECK(
      writer.record(DnsSection::answer, wire_name("long.example.com"), DnsType::a, 1, Message(4)));
  auto bytes = std::move(writer).finish();
  auto message = DnsMessage::parse(bytes);
  REQUIRE(message);
  REQUIRE(message->records().size() == 1);
  CHECK(message->records()[0].owner == wire_name("long.example.com"));
}

TEST_CASE("every prefix of a message is refused, and no byte change reads out of bounds") {
  wire::DnsHeader header;
  DnsWriter writer(header, 512);
  writer.question({wire_name("www.example.com"), DnsType::mx});
  writer.record(DnsSection::answer, wire_name("www.example.com"), DnsType::mx, 1,
                joined({{0, 10}, bytes_of(wire_name("mail.example.com"))}));
  writer.edns({.udp_bytes = 1232},
              DnsWriter::ExtendedError{wire::DnsExtendedError::blocked, "because"});
  auto bytes = std::move(writer).finish();
  REQUIRE(DnsMessage::parse(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(DnsMessage::parse(ConstBytes(bytes).first(size)));
  }
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      // A heap copy, so that a sanitizer sees a read past the end.
      Message changed = bytes;
      changed[at] = static_cast<std::uint8_t>(value);
      auto message = DnsMessage::parse(changed);
      if (!message) continue;
      for (const auto& record : message->records()) wire::expand_rdata(*message, record);
    }
  }
}

TEST_CASE("names in record data are uncompressed for the types that may compress them") {
  auto zone = bytes_of(wire_name("example.com"));
  struct Row {
    std::uint16_t type;
    Message prefix;
    int names;
    Message tail;
  };
  auto row = GENERATE_COPY(values<Row>({{2, {}, 1, {}},
                                        {5, {}, 1, {}},
                                        {6, {}, 2, Message(20, 7)},
                                        {12, {}, 1, {}},
                                        {14, {}, 2, {}},
                                        {15, {0, 5}, 1, {}},
                                        {17, {}, 2, {}},
                                        {26, {0, 5}, 2, {}},
                                        {33, {0, 1, 0, 2, 0, 80}, 1, {}},
                                        {35, {0, 1, 0, 2, 1, 'u', 0, 2, 'x', 'y'}, 1, {}}}));
  // A question for example.com at offset 12, and a record whose names point there.
  Message data = row.prefix;
  Message expected = row.prefix;
  for (int i = 0; i < row.names; ++i) {
    data = joined({data, {0xc0, 12}});
    expected = joined({expected, zone});
  }
  data = joined({data, row.tail});
  expected = joined({expected, row.tail});
  auto type_high = static_cast<std::uint8_t>(row.type >> 8);
  auto type_low = static_cast<std::uint8_t>(row.type);
  auto build = [&](const Message& rdata) {
    return joined(
        {{0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0},
         zone,
         {0, 1, 0, 1},
         {0xc0, 12},
         {type_high, type_low, 0, 1, 0, 0, 0, 9, 0, static_cast<std::uint8_t>(rdata.size())},
         rdata});
  };
  auto bytes = build(data);
  auto message = DnsMessage::parse(bytes);
  REQUIRE(message);
  CHECK(wire::expand_rdata(*message, message->records()[0]) == expected);

  auto longer = build(joined({data, {0}}));
  data.resize(std::max<std::size_t>(data.size(), 1) - 1);
  auto shorter = build(data);
  for (const auto& wrong : {longer, shorter}) {
    auto refused = DnsMessage::parse(wrong);
    REQUIRE(refused);
    CHECK_FALSE(wire::expand_rdata(*refused, refused->records()[0]));
  }
}

TEST_CASE("address records of another size are refused") {
  auto type = GENERATE(DnsType::a, DnsType::aaaa);
  std::size_t size = GENERATE(0u, 3u, 5u, 15u, 17u);
  DnsWriter writer({}, 512);
  writer.record(DnsSection::answer, wire_name("a.example"), type, 1, Message(size));
  auto bytes = std::move(writer).finish();
  auto message = DnsMessage::parse(bytes);
  REQUIRE(message);
  CHECK_FALSE(wire::expand_rdata(*message, message->records()[0]));
}

TEST_CASE("a message of more records than an honest one has is refused") {
  Message bytes{0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  auto records = GENERATE(std::size_t{1024}, std::size_t{1025});
  store_be16(&bytes[6], static_cast<std::uint16_t>(records));
  bytes.resize(bytes.size() + records * 11);
  CHECK(DnsMessage::parse(bytes).has_value() == (records == 1024));
}

TEST_CASE("response codes above 15 come from the OPT record") {
  wire::DnsHeader header;
  DnsWriter writer(header, 512);
  writer.edns({.udp_bytes = 1232, .extended_rcode = 1}, std::nullopt);
  auto bytes = std::move(writer).finish();
  CHECK(DnsMessage::parse(bytes)->rcode() == DnsRcode::bad_version);
}
