#include "wire/dhcpv6.h"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace sluice::wire;

namespace {

using Message = std::vector<std::uint8_t>;

DomainName name(std::string_view text) {
  return *DomainName::parse(text);
}
IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}

}  // namespace

TEST_CASE("a DHCPv6 message that is built can be read") {
  Dhcpv6Builder builder(Dhcpv6Type::reply, 0xff123456);
  auto duid = duid_from(MacAddress({2, 1, 2, 3, 4, 5}));
  CHECK(duid == Message{0, 3, 0, 1, 2, 1, 2, 3, 4, 5});
  CHECK(builder.add(Dhcpv6OptionCode::server_id, duid));
  CHECK(builder.add_status(Dhcpv6Status::not_on_link));
  CHECK(builder.add_addresses(Dhcpv6OptionCode::dns_servers, {ip("fd00::1"), ip("fd00::2")}));
  CHECK(builder.add_names(Dhcpv6OptionCode::domain_list, {name("a.test"), name("b.test")}));
  CHECK(builder.add_option_request({Dhcpv6OptionCode::dns_servers}));
  CHECK(builder.add_association({.id = 7,
                                 .t1_seconds = 10,
                                 .t2_seconds = 20,
                                 .addresses = {{ip("fd00::9"), 30, 40}},
                                 .status = Dhcpv6Status::success}));
  auto message = builder.finish();
  auto view = Dhcpv6View::parse(message);
  REQUIRE(view.has_value());
  CHECK(view->type() == Dhcpv6Type::reply);
  CHECK(view->transaction() == 0x123456);
  CHECK(std::ranges::equal(view->server_id(), duid));
  CHECK(view->client_id().empty());
  CHECK(view->status() == Dhcpv6Status::not_on_link);
  CHECK(view->dns_servers() == std::vector{ip("fd00::1"), ip("fd00::2")});
  CHECK(view->domain_list() == std::vector{name("a.test"), name("b.test")});
  CHECK(view->asks_for(Dhcpv6OptionCode::dns_servers));
  CHECK_FALSE(view->asks_for(Dhcpv6OptionCode::domain_list));
  auto body = view->options().find(Dhcpv6OptionCode::ia_na);
  REQUIRE(body.has_value());
  auto association = Dhcpv6Association::parse({Dhcpv6OptionCode::ia_na, *body});
  REQUIRE(association.has_value());
  CHECK(association->id == 7);
  CHECK(association->t1_seconds == 10);
  CHECK(association->t2_seconds == 20);
  auto address = Dhcpv6Address::parse(*association->options.next());
  REQUIRE(address.has_value());
  CHECK(address->address == ip("fd00::9"));
  CHECK(address->preferred_seconds == 30);
  CHECK(address->valid_seconds == 40);
}

TEST_CASE("every cut of a DHCPv6 message inside an option is refused") {
  Dhcpv6Builder builder(Dhcpv6Type::solicit, 1);
  builder.add(Dhcpv6OptionCode::client_id, Message(10, 1));
  builder.add_association({.id = 1});
  auto message = builder.finish();
  int accepted = 0;
  for (std::size_t size = 0; size < message.size(); ++size) {
    accepted += Dhcpv6View::parse(ConstBytes(message).first(size)) ? 1 : 0;
  }
  CHECK(accepted == 2);  // after the header and after the first option
}

TEST_CASE("unknown types, relays and oversized identifiers are refused") {
  for (std::uint8_t type : {0, 10, 12, 13, 255}) {
    CHECK_FALSE(Dhcpv6View::parse(Message{type, 0, 0, 1}).has_value());
  }
  for (auto [size, fits] : {std::pair{kMaxDuidBytes, true}, {kMaxDuidBytes + 1, false}}) {
    Dhcpv6Builder builder(Dhcpv6Type::solicit, 1);
    builder.add(Dhcpv6OptionCode::client_id, Message(size, 1));
    CHECK(Dhcpv6View::parse(builder.finish()).has_value() == fits);
  }
}

TEST_CASE("associations and addresses with broken contents are refused") {
  Message body(12);
  CHECK(Dhcpv6Association::parse({Dhcpv6OptionCode::ia_na, body}).has_value());
  CHECK_FALSE(Dhcpv6Association::parse({Dhcpv6OptionCode::dns_servers, body}).has_value());
  CHECK_FALSE(Dhcpv6Association::parse({Dhcpv6OptionCode::ia_na, ConstBytes(body).first(11)}));
  body.insert(body.end(), {0, 5, 0, 24, 1});
  CHECK_FALSE(Dhcpv6Association::parse({Dhcpv6OptionCode::ia_na, body}).has_value());
  CHECK_FALSE(Dhcpv6Address::parse({Dhcpv6OptionCode::ia_address, Message(23)}).has_value());
  CHECK(Dhcpv6Address::parse({Dhcpv6OptionCode::ia_address, Message(24)}).has_value());
}

TEST_CASE("a DHCPv6 message never grows beyond the smallest link") {
  Dhcpv6Builder builder(Dhcpv6Type::reply, 1);
  CHECK(builder.add(Dhcpv6OptionCode::dns_servers, Message(1000)));
  CHECK_FALSE(builder.add(Dhcpv6OptionCode::dns_servers, Message(300)));
  std::vector<DomainName> names(40, name("a-long-label-for-a-search-list.example"));
  CHECK(builder.add_names(Dhcpv6OptionCode::domain_list, names));
  auto message = builder.finish();
  CHECK(message.size() <= Dhcpv6Builder::kMaxMessage);
  auto view = Dhcpv6View::parse(message);
  REQUIRE(view.has_value());
  CHECK(view->domain_list().size() < 40);
}
