#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "gateway/gateway.h"
#include "wire/arp.h"
#include "wire/dhcp.h"
#include "wire/dhcpv6.h"
#include "wire/ethernet.h"
#include "wire/ip.h"

namespace sluice::test {

inline const MacAddress kGuestMac({0x52, 0x54, 0, 0, 0, 1});
inline const MacAddress kOtherMac({0x52, 0x54, 0, 0, 0, 2});

IpAddress ip(std::string_view text);
DomainName name(std::string_view text);

/// A LeaseStore in memory, shared between runs of a gateway.
struct MemoryStore : gateway::LeaseStore {
  std::vector<gateway::StoredLease> stored;
  int saves = 0;
  bool broken = false;

  std::vector<gateway::StoredLease> load() override { return stored; }
  Status save(const std::vector<gateway::StoredLease>& leases) override;
};

/// A frame that the router sent, kept.
struct SentFrame {
  std::vector<std::uint8_t> bytes;

  wire::EthernetView ethernet() const { return *wire::EthernetView::parse(bytes); }
  /// Fails the test where it is not an IP packet with right checksums.
  wire::Packet packet() const;
  ConstBytes udp_payload() const;
};

/// One router and what guests do to it, by a clock of the test's.
class GuestKit {
 public:
  explicit GuestKit(gateway::Config config = {}, gateway::LeaseStore* store = nullptr);

  gateway::Config config;
  TimePoint now{std::chrono::hours(5)};
  std::vector<SentFrame> sent;
  gateway::Gateway router;

  /// The frames since the last call.
  std::vector<SentFrame> take();
  /// Moves the clock, with a tick whenever one is due.
  void advance(Duration duration);

  bool frame(ConstBytes bytes) { return router.handle(bytes, now); }
  bool arp(const wire::ArpPacket& packet, const MacAddress& from = kGuestMac,
           const MacAddress& to = MacAddress::broadcast());
  /// Returns whether the router took it.
  bool udp(const Endpoint& source, const Endpoint& destination, ConstBytes payload,
           const MacAddress& from = kGuestMac);
  bool icmpv6(const IpAddress& source, const IpAddress& destination, ConstBytes message,
              std::uint8_t hop_limit = 255, const MacAddress& from = kGuestMac);
  /// An NDP value of wire/ndp.h, e.g. NeighborSolicit.
  template <typename Message>
  bool ndp(const IpAddress& source, const IpAddress& destination, const Message& message,
           std::uint8_t hop_limit = 255, const MacAddress& from = kGuestMac) {
    std::vector<std::uint8_t> bytes(message.size());
    message.emit(bytes, source, destination);
    return icmpv6(source, destination, bytes, hop_limit, from);
  }
  void send_echo(const IpAddress& source, const IpAddress& destination, std::size_t size,
                 const MacAddress& from = kGuestMac);
  /// Sends an echo request with `size` bytes of data; the reply's data if there is one.
  std::optional<std::vector<std::uint8_t>> ping(const IpAddress& source,
                                                const IpAddress& destination, std::size_t size,
                                                const MacAddress& from = kGuestMac);
  gateway::SourceCheck check(const IpAddress& source, const MacAddress& from = kGuestMac) {
    return router.check_source(from, source, now);
  }
};

/// What the scripted DHCP client puts into a message.
struct DhcpAsk {
  wire::DhcpType type = wire::DhcpType::discover;
  MacAddress mac = kGuestMac;
  bool broadcast = false;
  bool rapid_commit = false;
  std::optional<IpAddress> requested;
  std::optional<IpAddress> server;
  IpAddress client_address;
  std::vector<std::uint8_t> wanted;
  std::vector<std::uint8_t> client_id;
  std::string host_name;
};

std::vector<std::uint8_t> dhcp_message(const DhcpAsk& ask);
/// Sends it and returns the reply's payload, empty where there is none.
std::vector<std::uint8_t> dhcp(GuestKit& kit, const DhcpAsk& ask);
/// DISCOVER and REQUEST; the address, or nothing.
std::optional<IpAddress> get_lease(GuestKit& kit, const MacAddress& mac = kGuestMac);

struct Dhcpv6Ask {
  wire::Dhcpv6Type type = wire::Dhcpv6Type::solicit;
  MacAddress mac = kGuestMac;
  std::vector<std::uint8_t> client_id = wire::duid_from(kGuestMac);
  std::vector<std::uint8_t> server_id;
  std::vector<wire::Dhcpv6Builder::AddressGrant> associations{{.id = 1}};
  bool rapid_commit = false;
  bool wants_prefix = false;
};

std::vector<std::uint8_t> dhcpv6(GuestKit& kit, const Dhcpv6Ask& ask);

}  // namespace sluice::test
