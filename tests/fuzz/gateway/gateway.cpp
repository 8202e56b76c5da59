// The whole router: the input is a train of frames, each behind a 16-bit length. Whatever comes,
// the router's own addresses stay its own and what it sends can be read.

#include <cstddef>
#include <cstdint>

#include "check.h"
#include "gateway/gateway.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/ip.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  gateway::Config config;
  config.max_neighbours = 8;
  config.max_addresses_per_mac = 4;
  TimePoint now{std::chrono::hours(1)};
  auto check_sent = [&](ConstBytes frame) {
    auto ethernet = wire::EthernetView::parse(frame);
    FUZZ_CHECK(ethernet && ethernet->source() == config.mac);
    if (ethernet->type() == wire::EtherType::arp) {
      auto arp = wire::ArpPacket::parse(ethernet->payload());
      FUZZ_CHECK(arp && arp->sender_mac == config.mac);
      return;
    }
    auto packet = wire::Packet::parse(ethernet->payload());
    FUZZ_CHECK(packet && packet->header_checksum_ok());
  };
  gateway::Gateway router(config, HashKey{{1, 2}}, check_sent, nullptr, now);
  router.link_up(now);
  ConstBytes rest(data, size);
  while (rest.size() > 2) {
    std::size_t length = std::min<std::size_t>(load_be16(rest.data()) & 0x7ff, rest.size() - 2);
    // A random checksum is hardly ever right.
    router.handle(rest.subspan(2, length), now, gateway::Checksums::trusted);
    rest = rest.subspan(2 + length);
    now += std::chrono::milliseconds(100);
    router.tick(now);
    FUZZ_CHECK(!router.mac_of(config.gateway4));
    FUZZ_CHECK(!router.mac_of(config.gateway6));
  }
  FUZZ_CHECK(router.leases().size() <= 2 * gateway::LeaseTable::kMaxAddresses);
  return 0;
}
