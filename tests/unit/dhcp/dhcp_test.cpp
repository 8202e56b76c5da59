#include "wire/dhcp.h"

#include <catch2/catch.hpp>

using namespace sluice;
using namespace sluice::wire;

namespace {

using Message = std::vector<std::uint8_t>;

const MacAddress kMac({0x52, 0x54, 0, 0, 0, 1});

/// A message of a client with these option bytes, as they are.
Message with_options(const Message& options) {
  Message message(240);
  message[0] = 1;
  message[1] = 1;
  message[2] = 6;
  store_be32(&message[236], 0x63825363);
  message.insert(message.end(), options.begin(), options.end());
  return message;
}

DomainName name(std::string_view text) {
  return *DomainName::parse(text);
}

}  // namespace

TEST_CASE("what is built can be read") {
  DhcpBuilder builder({.op = DhcpHeader::Op::reply,
                       .transaction = 0xdeadbeef,
                       .broadcast = true,
                       .client_address = IpAddress::v4(10, 0, 0, 9),
                       .your_address = IpAddress::v4(10, 0, 0, 2),
                       .client_mac = kMac,
                       .type = DhcpType::ack});
  CHECK(builder.add(DhcpOption::routers, IpAddress::v4(10, 0, 0, 1)));
  CHECK(builder.add16(DhcpOption::interface_mtu, 65520));
  CHECK(builder.add32(DhcpOption::lease_seconds, 3600));
  CHECK(builder.add(DhcpOption::host_name, "guest"));
  CHECK(builder.add_search_list({name("vm.internal"), name("example.com")}));
  CHECK(builder.add_routes({{*IpPrefix::parse("0.0.0.0/0"), IpAddress::v4(10, 0, 0, 1)},
                            {*IpPrefix::parse("10.128.0.0/9"), IpAddress::v4(10, 0, 0, 3)},
                            {*IpPrefix::parse("1.2.3.4/32"), IpAddress()}}));
  Message message = builder.finish();
  CHECK(message.size() >= kDhcpMinMessage);
  auto view = DhcpView::parse(message);
  REQUIRE(view.has_value());
  CHECK_FALSE(view->is_request());
  CHECK(view->type() == DhcpType::ack);
  CHECK(view->transaction() == 0xdeadbeef);
  CHECK(view->broadcast());
  CHECK(view->client_address() == IpAddress::v4(10, 0, 0, 9));
  CHECK(view->your_address() == IpAddress::v4(10, 0, 0, 2));
  CHECK(view->client_mac() == kMac);
  CHECK(view->addresses(DhcpOption::routers) == std::vector{IpAddress::v4(10, 0, 0, 1)});
  CHECK(view->number16(DhcpOption::interface_mtu) == 65520);
  CHECK(view->number32(DhcpOption::lease_seconds) == 3600);
  CHECK(view->text(DhcpOption::host_name) == "guest");
  CHECK(view->search_list() == std::vector{name("vm.internal"), name("example.com")});
  auto routes = view->routes();
  REQUIRE(routes.size() == 3);
  CHECK(routes[1].destination == *IpPrefix::parse("10.128.0.0/9"));
  CHECK(routes[1].router == IpAddress::v4(10, 0, 0, 3));
  CHECK(routes[2].destination.length() == 32);
}

TEST_CASE("an option that does not fit is refused and leaves the message as it was") {
  DhcpBuilder builder({.client_mac = kMac});
  CHECK(builder.add(DhcpOption::client_id, Message(255, 1)));
  CHECK_FALSE(builder.add(DhcpOption::host_name, Message(100, 2)));
  CHECK(builder.add(DhcpOption::domain_name, Message(45, 3)));
  CHECK_FALSE(builder.add(DhcpOption::rapid_commit, ConstBytes()));
  auto message = builder.finish();
  CHECK(message.size() <= kDhcpMaxReply);
  auto view = DhcpView::parse(message);
  REQUIRE(view.has_value());
  CHECK_FALSE(view->has(DhcpOption::host_name));
  CHECK(view->option(DhcpOption::domain_name)->size() == 45);
}

TEST_CASE("values over 255 bytes are split and joined again") {
  DhcpBuilder builder({.client_mac = kMac}, 1400);
  Message value(700);
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<std::uint8_t>(i);
  CHECK(builder.add(DhcpOption::client_id, value));
  auto message = builder.finish();
  CHECK(DhcpView::parse(message)->option(DhcpOption::client_id) == value);
}

TEST_CASE("options in the file and sname fields count where option 52 says so") {
  for (std::uint8_t overload : {0, 1, 2, 3}) {
    CAPTURE(int(overload));
    auto message = with_options({53, 1, 1, 52, 1, overload, 61, 1, 'a', 255});
    message[108] = 61;  // file
    message[109] = 1;
    message[110] = 'b';
    message[111] = 255;
    message[44] = 61;  // sname
    message[45] = 1;
    message[46] = 'c';
    message[47] = 255;
    auto view = DhcpView::parse(message);
    REQUIRE(view.has_value());
    std::string expected = "a";
    if (overload & 1) expected += "b";
    if (overload & 2) expected += "c";
    CHECK(view->text(DhcpOption::client_id) == expected);
  }
}

TEST_CASE("an overload option inside an overloaded field does not start another walk") {
  auto message = with_options({53, 1, 1, 52, 1, 1, 255});
  message[108] = 52;
  message[109] = 1;
  message[110] = 3;
  message[111] = 255;
  message[44] = 200;  // would run over sname
  message[45] = 255;
  CHECK(DhcpView::parse(message).has_value());
}

TEST_CASE("a message that is malformed is refused") {
  auto good = with_options({53, 1, 1, 255});
  CHECK(DhcpView::parse(good).has_value());
  for (std::size_t size = 0; size < 243; ++size) {
    CHECK_FALSE(DhcpView::parse(ConstBytes(good).first(size)).has_value());
  }
  auto refused = [](const Message& message) { return !DhcpView::parse(message).has_value(); };
  for (std::size_t at : {0, 1, 2, 236, 239}) {
    auto bad = good;
    bad[at] ^= 0x40;
    CHECK(refused(bad));
  }
  CHECK(refused(with_options({255})));            // BOOTP without a type
  CHECK(refused(with_options({53, 1, 0, 255})));  // no such type
  CHECK(refused(with_options({53, 1, 9, 255})));
  CHECK(refused(with_options({53, 2, 1, 1, 255})));  // wrong size
  CHECK(refused(with_options({53, 1, 1, 61, 10, 1})));
  CHECK(refused(with_options({53, 1, 1, 61})));
  CHECK(refused(with_options({53, 1, 1, 53, 1, 1})));  // joined: two bytes of type
}

TEST_CASE("pads and a missing end option are forgiven") {
  CHECK(DhcpView::parse(with_options({0, 0, 53, 1, 3, 0})).has_value());
}

TEST_CASE("values of the wrong size are not there") {
  auto message =
      with_options({53, 1, 1, 50, 3, 1, 2, 3, 57, 1, 9, 51, 2, 0, 1, 6, 5, 1, 2, 3, 4, 5});
  auto view = DhcpView::parse(message);
  REQUIRE(view.has_value());
  CHECK_FALSE(view->address(DhcpOption::requested_address).has_value());
  CHECK_FALSE(view->number16(DhcpOption::max_message_size).has_value());
  CHECK_FALSE(view->number32(DhcpOption::lease_seconds).has_value());
  CHECK(view->addresses(DhcpOption::dns_servers).empty());
}

TEST_CASE("a flood of parameter lists is one set") {
  Message options{53, 1, 1};
  for (int i = 0; i < 5; ++i) {
    options.push_back(55);
    options.push_back(250);
    for (int j = 0; j < 250; ++j) options.push_back(static_cast<std::uint8_t>(j));
  }
  auto message = with_options(options);
  CHECK(DhcpView::parse(message)->wanted().count() == 250);
}

TEST_CASE("compression in a search list is followed backwards only") {
  auto list = [](const Message& value) {
    Message options{53, 1, 2, 119, static_cast<std::uint8_t>(value.size())};
    options.insert(options.end(), value.begin(), value.end());
    auto message = with_options(options);
    return DhcpView::parse(message)->search_list();
  };
  // RFC 3397 section 2: "eng" + "apple.com" and a second name that points to the latter.
  CHECK(list({3, 'e', 'n', 'g', 5, 'a', 'p', 'p', 'l',  'e',
              3, 'c', 'o', 'm', 0, 2,   'h', 'q', 0xc0, 4}) ==
        std::vector{name("eng.apple.com"), name("hq.apple.com")});
  CHECK(list({0xc0, 0}).empty());
  CHECK(list({0xc0}).empty());
  CHECK(list({1, 'a', 0xc0, 0}).empty());
  CHECK(list({1, 'a', 0xc0, 5, 0, 0}).empty());
  CHECK(list({5, 'a'}).empty());
  CHECK(list({0x80, 1, 0}).empty());
  CHECK(list({1, '!', 0, 1, 'a', 0}) == std::vector{name("a")});
}

TEST_CASE("malformed routes are no routes") {
  auto routes = [](const Message& value) {
    Message options{53, 1, 2, 121, static_cast<std::uint8_t>(value.size())};
    options.insert(options.end(), value.begin(), value.end());
    auto message = with_options(options);
    return DhcpView::parse(message)->routes();
  };
  CHECK(routes({0, 10, 0, 0, 1}).size() == 1);
  CHECK(routes({33, 1, 2, 3, 4, 5, 10, 0, 0, 1}).empty());
  CHECK(routes({8, 10, 10, 0, 0}).empty());
  CHECK(routes({24}).empty());
}

TEST_CASE("the subnet mask of every length") {
  CHECK(subnet_mask(0) == IpAddress());
  CHECK(subnet_mask(24) == IpAddress::v4(255, 255, 255, 0));
  CHECK(subnet_mask(31) == IpAddress::v4(255, 255, 255, 254));
  CHECK(subnet_mask(32) == IpAddress::v4(0xffffffffu));
}

TEST_CASE("a subnet mask with holes has no prefix length") {
  for (int length = 0; length <= 32; ++length) CHECK(prefix_length(subnet_mask(length)) == length);
  CHECK_FALSE(prefix_length(IpAddress::v4(255, 0, 255, 0)).has_value());
  CHECK_FALSE(prefix_length(IpAddress::v4(0, 0, 0, 1)).has_value());
  CHECK_FALSE(prefix_length(IpAddress::any(Family::v6)).has_value());
}
