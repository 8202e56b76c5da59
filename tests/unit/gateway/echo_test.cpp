#include <catch2/catch.hpp>

#include "guest_kit.h"

using namespace sluice;
using namespace sluice::test;

TEST_CASE("the gateway and the host alias answer echo with the same data") {
  gateway::Config config;
  config.mtu = 65520;
  GuestKit kit(config);
  for (std::size_t size : {0, 1, 56, 1400, 65000}) {
    CAPTURE(size);
    std::vector<std::uint8_t> data(size);
    for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i * 7);
    for (const char* target : {"192.168.127.1", "192.168.127.254"}) {
      CHECK(kit.ping(ip("192.168.127.2"), ip(target), size) == data);
    }
    for (const char* target : {"fd53:4c55:4943::1", "fd53:4c55:4943::fe"}) {
      CHECK(kit.ping(ip("fd53:4c55:4943::2"), ip(target), size) == data);
    }
  }
  CHECK(kit.ping(ip("fe80::1234"), ip("fe80::53:4cff:fe55:4943"), 8).has_value());
}

TEST_CASE("an echo longer than the MTU, as it comes out of reassembly, is answered in fragments") {
  GuestKit kit;
  kit.send_echo(ip("192.168.127.2"), ip("192.168.127.1"), 8000);
  kit.send_echo(ip("fd53:4c55:4943::2"), ip("fd53:4c55:4943::1"), 8000);
  auto frames = kit.take();
  CHECK(frames.size() == 12);
  for (const SentFrame& frame : frames) {
    auto packet = frame.packet();
    CHECK(packet.total_size() <= kit.config.mtu);
    CHECK(packet.is_fragment());
  }
}

TEST_CASE("an echo request from a spoofed address is not answered") {
  GuestKit kit;
  CHECK_FALSE(kit.ping(ip("192.168.127.9"), ip("192.168.127.1"), 8).has_value());
  CHECK_FALSE(kit.ping(ip("192.168.127.254"), ip("192.168.127.1"), 8).has_value());
  CHECK_FALSE(kit.ping(ip("2001:db8::1"), ip("fd53:4c55:4943::1"), 8).has_value());
  CHECK(kit.router.counters().spoofed_address == 3);
}

TEST_CASE("echo to anybody else is not the router's business") {
  GuestKit kit;
  CHECK_FALSE(kit.ping(ip("192.168.127.2"), ip("8.8.8.8"), 8).has_value());
  CHECK_FALSE(kit.ping(ip("192.168.127.2"), ip("192.168.127.255"), 8).has_value());
  CHECK(kit.router.counters().echo_answered == 0);
}
