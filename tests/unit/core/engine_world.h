#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/engine.h"
#include "link/guest_port.h"
#include "support/scripted_net.h"
#include "support/virtual_loop.h"
#include "wire/ip.h"
#include "wire/tcp.h"

namespace sluice::test {

inline const MacAddress kGuestMac({0x52, 0x54, 0, 0, 0, 1});

inline IpAddress ip(std::string_view text) {
  return *IpAddress::parse(text);
}
inline Endpoint endpoint(std::string_view text) {
  return *Endpoint::parse(text);
}
inline DomainName domain(std::string_view text) {
  return *DomainName::parse(text);
}

/// A guest's NIC in the test's hands: keeps what the gateway sends, can be full.
class ScriptedNic final : public link::GuestPort {
 public:
  /// `alive` is cleared when the gateway lets go of it.
  explicit ScriptedNic(ScriptedNic** alive) : alive_(alive) { *alive_ = this; }
  ~ScriptedNic() override { *alive_ = nullptr; }

  bool full = false;
  std::deque<std::vector<std::uint8_t>> frames;
  int flushes = 0;  ///< Each is a system call where the NIC is a real one.

  void set_handler(link::PortHandler* handler) override { handler_ = handler; }
  link::SendResult send(const link::RxFrame& frame, link::FrameClass) override;
  void flush() override { ++flushes; }
  std::size_t max_mtu() const override { return 65520; }
  link::PortCounters counters() const override { return counters_; }

  /// A frame of the guest's.
  void give(std::vector<std::uint8_t> frame);
  /// Several that were read at once.
  void give(std::vector<std::vector<std::uint8_t>> batch);
  void set_link(bool up) { handler_->on_port_link(up); }

 private:
  ScriptedNic** alive_;
  link::PortHandler* handler_ = nullptr;
  link::PortCounters counters_;
};

/// A datagram that reached the guest, put together again from its fragments.
struct SeenDatagram {
  Endpoint source;
  Endpoint destination;
  std::string payload;
  std::size_t frames = 0;  ///< It came in as many.
};

/// A whole Network on virtual time: scripted host sockets, and a guest with the first address whose
/// NIC is in the test's hands. Of the machine it runs on only the routing is asked.
class EngineWorld {
 public:
  /// Fails the test where the configuration is refused.
  explicit EngineWorld(NetworkConfig config = {});
  ~EngineWorld();

  /// `text` as `--rule` has it.
  static RuleText rule(std::string_view text);
  /// With `rules` and nothing else.
  static NetworkConfig with_rules(std::string_view rules);

  /// Plugs a NIC in, which is there at once.
  void attach();
  void settle();
  void pass(Duration time);

  /// IPv4 from guest, with right checksums.
  void send_udp(const Endpoint& from, const Endpoint& to, std::string_view payload);
  void send_tcp(const Endpoint& from, const Endpoint& to, std::uint8_t flags,
                std::uint32_t sequence, std::uint32_t acknowledgment = 0);
  void send_ip(const wire::IpHeader& header, ConstBytes payload);
  /// The frames of these, not sent.
  std::vector<std::uint8_t> ip_frame(const wire::IpHeader& header, ConstBytes payload) const;
  std::vector<std::uint8_t> udp_frame(const Endpoint& from, const Endpoint& to,
                                      std::string_view payload) const;
  std::vector<std::uint8_t> tcp_frame(const Endpoint& from, const Endpoint& to, std::uint8_t flags,
                                      std::uint32_t sequence,
                                      std::uint32_t acknowledgment = 0) const;

  /// IP packets that reached the guest since the last call, ARP and NDP left out.
  std::vector<std::vector<std::uint8_t>> packets();
  std::optional<SeenDatagram> datagram();
  struct Segment {
    wire::TcpFlags flags;
    std::uint32_t sequence = 0;
  };
  /// TCP segments that reached the guest since the last call.
  std::vector<Segment> segments();

  std::uint64_t drops(std::string_view cause) const;

  VirtualLoop loop;
  ScriptedNet net{loop};
  std::vector<DenialEvent> denied;
  ScriptedNic* nic = nullptr;  ///< While it is plugged in.
  std::unique_ptr<core::Engine> engine;
  const IpAddress guest = ip("192.168.127.2");
};

}  // namespace sluice::test
