#include "wire/ethernet.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/arp.h"
#include "wire/packets.h"

using namespace sluice;
using namespace sluice::wire;
using sluice::testing::Frame;

namespace {

const MacAddress kGuest({0x52, 0x54, 0, 1, 2, 3});
const MacAddress kGateway({0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd});

Frame arp(ArpOperation operation) {
  ArpPacket packet{operation, kGuest, testing::kV4Guest, kGateway, IpAddress::v4(192, 168, 127, 1)};
  Frame bytes(ArpPacket::size());
  REQUIRE(packet.emit(bytes) == bytes.size());
  return bytes;
}

}  // namespace

TEST_CASE("a frame of 0 to 13 bytes is no frame, one of 14 is") {
  Frame frame(14);
  for (std::size_t size = 0; size < 14; ++size) {
    CHECK_FALSE(EthernetView::parse(ConstBytes(frame).first(size)));
  }
  auto view = EthernetView::parse(frame);
  REQUIRE(view);
  CHECK(view->payload().empty());
}

TEST_CASE("VLAN tags, 802.3 lengths and unknown types are none that we speak") {
  Frame frame(60);
  for (std::uint16_t type : {0x8100, 0x88a8, 0x002e, 0x05dc, 0x88cc, 0xffff}) {
    store_be16(&frame[12], type);
    auto view = EthernetView::parse(frame);
    REQUIRE(view);
    CHECK(view->type() != EtherType::ipv4);
    CHECK(view->type() != EtherType::ipv6);
    CHECK(view->type() != EtherType::arp);
  }
}

TEST_CASE("an Ethernet header reads back as it was written") {
  Frame frame(14);
  EthernetHeader header{kGuest, kGateway, EtherType::ipv6};
  CHECK(header.emit(Bytes(frame).first(13)) == 0);
  REQUIRE(header.emit(frame) == 14);
  auto view = EthernetView::parse(frame);
  CHECK(view->destination() == kGuest);
  CHECK(view->source() == kGateway);
  CHECK(view->type() == EtherType::ipv6);
}

TEST_CASE("multicast addresses map to their group MACs") {
  CHECK(multicast_mac(IpAddress::v4(239, 129, 2, 3)).to_string() == "01:00:5e:01:02:03");
  auto all_nodes = IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK(multicast_mac(all_nodes).to_string() == "33:33:00:00:00:01");
}

TEST_CASE("ARP requests and replies read back as written, with padding behind them") {
  for (auto operation : {ArpOperation::request, ArpOperation::reply}) {
    Frame bytes = arp(operation);
    bytes.resize(46);
    auto packet = ArpPacket::parse(bytes);
    REQUIRE(packet);
    CHECK(packet->operation == operation);
    CHECK(packet->sender_mac == kGuest);
    CHECK(packet->sender_ip == testing::kV4Guest);
    CHECK(packet->target_mac == kGateway);
    CHECK_FALSE(packet->is_gratuitous());
    CHECK_FALSE(packet->is_probe());
  }
}

TEST_CASE("ARP of other sizes, hardware, protocols or operations is refused") {
  struct Fault {
    std::size_t at;
    std::uint8_t value;
  };
  for (Fault fault : {Fault{1, 6}, Fault{2, 0x86}, Fault{4, 0}, Fault{4, 5}, Fault{4, 7},
                      Fault{4, 255}, Fault{5, 0}, Fault{5, 16}, Fault{7, 0}, Fault{7, 3}}) {
    Frame bytes = arp(ArpOperation::reply);
    bytes[fault.at] = fault.value;
    CHECK_FALSE(ArpPacket::parse(bytes));
  }
  Frame bytes = arp(ArpOperation::reply);
  CHECK_FALSE(ArpPacket::parse(ConstBytes(bytes).first(27)));
  CHECK(ArpPacket::parse(bytes));
}

TEST_CASE("a gratuitous ARP and a probe are told from a question") {
  ArpPacket packet{ArpOperation::request, kGuest, testing::kV4Guest, {}, testing::kV4Guest};
  CHECK(packet.is_gratuitous());
  packet.sender_ip = IpAddress();
  CHECK(packet.is_probe());
  packet.operation = ArpOperation::reply;
  CHECK_FALSE(packet.is_probe());
}
