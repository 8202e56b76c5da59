#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include <net/address.h>

#include "base/loop.h"
#include "flow/gate.h"
#include "gateway/gateway.h"
#include "link/guest_port.h"
#include "stack/tcp_engine.h"
#include "wire/ip.h"

namespace sluice::core {

struct SenderCounters {
  std::uint64_t packets_refused = 0;     ///< The port was full.
  std::uint64_t packets_unresolved = 0;  ///< No guest has the address, or it never answered.
  std::uint64_t packets_no_guest = 0;    ///< Nobody is attached.
};

/// Puts Ethernet and IP headers before what flows and the router have for the guest, and hands it
/// to the guest's port. On the loop's thread.
class GuestSender final : public stack::SegmentSink, public flow::GuestOutput {
 public:
  /// Packets that wait for a neighbour's answer; the oldest goes first.
  static constexpr std::size_t kMaxWaiting = 64;

  GuestSender(Loop& loop, const gateway::Config& config) : loop_(loop), config_(config) {}

  /// Set once, before the first packet.
  void set_gateway(gateway::Gateway* gateway) { gateway_ = gateway; }
  /// nullptr: nobody is there; segments wait, packets are lost.
  void set_port(link::GuestPort* port) { port_ = port; }

  bool send_segment(const stack::OutSegment& segment) override;
  bool takes_unread() const override { return port_ && port_->takes_unread(); }
  void send_packet(ConstBytes packet) override;
  void send_udp(const Endpoint& source, const Endpoint& guest, ConstBytes payload) override;
  IpAddress gateway_address(Family family) const override {
    return family == Family::v4 ? config_.gateway4 : config_.gateway6;
  }

  /// A whole frame of the router's.
  void send_frame(ConstBytes frame);
  /// The answer to a resolve(): what waited for the address goes out or is lost.
  void on_resolved(const IpAddress& address, std::optional<MacAddress> mac);
  void flush() {
    if (port_) port_->flush();
  }

  const SenderCounters& counters() const { return counters_; }

 private:
  /// A packet that waits for its neighbour's answer.
  struct Waiting {
    wire::IpHeader header;
    std::vector<std::uint8_t> payload;
  };

  void send(const wire::IpHeader& header, std::span<const iovec> payload);
  void send_to(const MacAddress& mac, const wire::IpHeader& header, std::span<const iovec> payload);
  void send_control(ConstBytes head, std::span<const iovec> payload, std::size_t payload_size);

  Loop& loop_;
  const gateway::Config& config_;
  gateway::Gateway* gateway_ = nullptr;
  link::GuestPort* port_ = nullptr;
  std::deque<Waiting> waiting_;
  std::uint32_t next_id_ = 1;
  SenderCounters counters_;
};

}  // namespace sluice::core
