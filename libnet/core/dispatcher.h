#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/loop.h"
#include "core/guest_sender.h"
#include "dns/service.h"
#include "flow/icmp_relay.h"
#include "flow/tcp_relay.h"
#include "flow/udp_relay.h"
#include "gateway/gateway.h"
#include "link/guest_port.h"
#include "stack/reassembly.h"

namespace sluice::core {

/// Frames of the guest that went nowhere, by cause.
struct DispatchCounters {
  std::uint64_t malformed = 0;  ///< Ethernet, IP or transport headers that do not hold.
  std::uint64_t bad_checksum = 0;
  std::uint64_t unknown_ethertype = 0;
  std::uint64_t unknown_protocol = 0;  ///< Neither TCP, UDP nor ICMP.
  std::uint64_t spoofed = 0;           ///< A source that the guest may not have.
  std::uint64_t not_for_us = 0;        ///< Multicast, broadcast, another's MAC.
  std::uint64_t ttl_exceeded = 0;
};

/// Takes every frame of the guest apart, once, and gives it to who handles it.
class Dispatcher final : public link::PortHandler {
 public:
  struct Parts {
    Loop& loop;
    gateway::Gateway& gateway;
    GuestSender& sender;
    stack::Reassembler& reassembler;
    flow::TcpRelay& tcp;
    flow::UdpRelay& udp;
    flow::IcmpRelay& icmp;
    dns::Service& dns;
    /// Whether a datagram answers a client of a published port, and was taken.
    std::function<bool(const wire::Packet&, const wire::UdpView&)> published;
    /// After a batch: what relays have to send goes out.
    std::function<void()> end_batch;
    /// The same at the end of this turn of the loop; may be asked for many times in it.
    std::function<void()> flush_later;
    std::function<void()> on_space;
    std::function<void(bool up)> on_link;
  };

  explicit Dispatcher(Parts parts) : parts_(std::move(parts)) {}

  void on_frames(std::span<link::TxFrame> frames) override;
  void on_port_space() override { parts_.on_space(); }
  void on_port_link(bool up) override { parts_.on_link(up); }

  const DispatchCounters& counters() const { return counters_; }
  /// Whether the guest sent anything since the last call.
  bool take_heard() { return std::exchange(heard_, false); }

 private:
  void on_frame(link::TxFrame& frame);
  /// `frame`: what it came in, without what pads it; where it came in several, its bytes are the
  /// packet's alone.
  void on_packet(const MacAddress& source, const wire::Packet& packet, const link::TxFrame& frame);
  void on_tcp(const wire::Packet& packet, const link::TxFrame& frame);
  void on_udp(const wire::Packet& packet, const BufferRef& buffer, bool trusted);
  void on_dns(const Endpoint& guest, const Endpoint& server, ConstBytes query);

  Parts parts_;
  DispatchCounters counters_;
  bool heard_ = false;
  bool in_batch_ = false;
};

}  // namespace sluice::core
