#include "agent/net/dhcp_socket.h"

#include <catch2/catch.hpp>
#include <vector>

#include "wire/dhcp.h"
#include "wire/udp.h"

using namespace sluice;
using agent::dhcp_message_in;

namespace {

const std::vector<std::uint8_t> kMessage(300, 7);

std::vector<std::uint8_t> packet_to(Port port) {
  std::vector<std::uint8_t> packet(28 + kMessage.size());
  wire::emit_udp(packet, {IpAddress::v4(10, 0, 0, 1), wire::kDhcpServerPort},
                 {IpAddress::v4(10, 0, 0, 2), port}, kMessage);
  return packet;
}

bool is_message(ConstBytes bytes) {
  return std::vector<std::uint8_t>(bytes.begin(), bytes.end()) == kMessage;
}

}  // namespace

TEST_CASE("a datagram to port 68 is a message, padded or not") {
  auto packet = packet_to(wire::kDhcpClientPort);
  CHECK(is_message(dhcp_message_in(packet, false)));
  packet.resize(packet.size() + 10);
  CHECK(is_message(dhcp_message_in(packet, false)));
}

TEST_CASE("what is cut, to another port, a fragment or damaged is none") {
  auto packet = packet_to(wire::kDhcpClientPort);
  for (std::size_t size = 0; size < packet.size(); ++size) {
    CHECK(dhcp_message_in(ConstBytes(packet).first(size), false).empty());
  }
  CHECK(dhcp_message_in(packet_to(Port(69)), false).empty());
  for (std::size_t at = 0; at < packet.size(); ++at) {
    auto bad = packet;
    bad[at] ^= 0x20;
    // The checksums of IP and UDP cover every byte.
    CHECK(dhcp_message_in(bad, false).empty());
  }
}

TEST_CASE("a packet of this machine's own may come before its UDP checksum is filled in") {
  auto packet = packet_to(wire::kDhcpClientPort);
  packet[26] ^= 0x55;
  CHECK(dhcp_message_in(packet, false).empty());
  CHECK(is_message(dhcp_message_in(packet, true)));
}
