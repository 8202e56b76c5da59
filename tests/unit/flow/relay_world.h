#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "flow/scripted_guest.h"
#include "flow/tcp_relay.h"
#include "support/scripted_net.h"
#include "support/virtual_loop.h"
#include "wire/udp.h"

namespace sluice::test {

/// Lets everything through to where the guest wants it, unless told otherwise.
class ScriptedGate final : public flow::Gate {
 public:
  std::function<flow::TcpRoute(const Endpoint&)> tcp = [](const Endpoint& remote) {
    flow::TcpRoute route;
    route.kind = flow::TcpRoute::Kind::dial;
    route.addresses = {remote};
    return route;
  };
  std::function<flow::UdpRoute(const Endpoint&)> udp = [](const Endpoint& remote) {
    return flow::UdpRoute{flow::UdpRoute::Kind::send, remote};
  };
  std::function<bool(const DomainName&)> named = [](const DomainName&) { return true; };
  /// What lookups of the gateway's own come to; where it says nothing, the test does: `lookups`.
  std::vector<IpAddress> addresses;
  bool answers_lookups = true;
  std::vector<std::pair<DomainName, flow::AddressesTo>> lookups;
  /// Where a name that was looked up may be dialled; by default anywhere.
  std::function<bool(const Endpoint&)> named_route = [](const Endpoint&) { return true; };
  bool unread = true;
  std::vector<policy::FirstFlightDenial> denials;
  bool echo = true;
  std::function<bool(const std::optional<Endpoint>& client)> ingress = [](const auto&) {
    return true;
  };

  /// How the flows that are over ended: "tcp 1: both ends closed it".
  std::vector<std::string> ends;
  std::size_t clients_refused = 0;

  flow::TcpRoute route_tcp(const Endpoint&, const Endpoint& remote, FlowId flow) override {
    flow::TcpRoute route = tcp(remote);
    route.grant = grant(flow);
    return route;
  }
  flow::UdpRoute route_udp(const Endpoint&, const Endpoint& remote, FlowId flow) override {
    flow::UdpRoute route = udp(remote);
    route.grant = grant(flow);
    return route;
  }
  flow::Grant allow_echo(const IpAddress&, const IpAddress&) override {
    return echo ? grant(0) : flow::Grant{};
  }
  flow::Grant allow_ingress(Protocol, const std::optional<Endpoint>& client, const Endpoint&,
                            FlowId flow) override {
    return ingress(client) ? grant(flow) : flow::Grant{};
  }
  void on_client_refused(Protocol, const Endpoint&, const Endpoint&, const PublishSpec&) override {
    ++clients_refused;
  }
  bool allow_named(Protocol, const Endpoint&, const Endpoint&, const DomainName& name,
                   FlowId) override {
    return named(name);
  }
  void look_up(const Endpoint&, const DomainName& name, Family, flow::AddressesTo done) override {
    lookups.emplace_back(name, done);
    if (answers_lookups) done(addresses);
  }
  flow::TcpRoute route_named(const Endpoint&, const Endpoint& remote, const DomainName&,
                             FlowId) override {
    flow::TcpRoute route;
    if (!named_route(remote)) return route;
    route.kind = flow::TcpRoute::Kind::dial;
    route.addresses = {remote};
    return route;
  }
  bool allow_unread(Protocol, const Endpoint&, const Endpoint&, FlowId) override { return unread; }
  void on_first_flight_denied(Protocol, const Endpoint&, const Endpoint&,
                              const policy::FirstFlightDenial& denial, FlowId) override {
    denials.push_back(denial);
  }
  void on_flow_closed(const flow::FlowSight& flow, std::string_view reason) override {
    ends.push_back(std::string(to_string(flow.protocol)) + " " +
                   std::to_string(flow.record.grant.id) + ": " + std::string(reason));
  }

 private:
  flow::Grant grant(FlowId flow) { return {flow != 0 ? flow : next_flow_++, nullptr}; }

  FlowId next_flow_ = 1;
};

/// Whole packets for the guest.
class PacketLog final : public flow::GuestOutput {
 public:
  std::vector<std::vector<std::uint8_t>> packets;

  void send_packet(ConstBytes packet) override {
    packets.emplace_back(packet.begin(), packet.end());
  }
  void send_udp(const Endpoint& source, const Endpoint& guest, ConstBytes payload) override {
    std::vector<std::uint8_t> packet(65535 + 40);
    packet.resize(wire::emit_udp(packet, source, guest, payload));
    if (!packet.empty()) packets.push_back(std::move(packet));
  }
  IpAddress gateway_address(Family family) const override {
    return family == Family::v4 ? IpAddress::v4(192, 168, 127, 1) : IpAddress::v6({0xfd, 15, 1});
  }
};

/// A TCP relay between a scripted guest and scripted host sockets, in virtual time.
class RelayWorld {
 public:
  explicit RelayWorld(const flow::TcpLimits& limits = {},
                      const stack::TcpEngineConfig& stack_config = {})
      : engine(std::move(*stack::TcpEngine::create(stack_config, port))),
        relay(std::make_unique<flow::TcpRelay>(loop, net, *engine, gate, icmp_answers, limits)) {}
  ~RelayWorld() {
    relay.reset();
    port.release_frames();
  }

  /// Gives the relay a segment, without run().
  void input(const Endpoint& guest, const Endpoint& remote, const GuestSegment& segment) {
    BuiltPacket built = build_packet(guest, remote, segment, &live_buffers);
    relay->input({.key = {guest, remote},
                  .packet = built.packet,
                  .tcp_at = built.tcp_at,
                  .header_size = built.header_size,
                  .buffer = built.buffer});
  }
  /// The same, but only the first `there` bytes of the payload are copied: the rest stays, in
  /// pieces, in memory that the guest goes on to use after end_lent_batch().
  void input_lent(const Endpoint& guest, const Endpoint& remote, GuestSegment segment,
                  std::size_t there) {
    constexpr std::size_t kPiece = 5000;
    std::string_view rest = segment.payload.substr(there);
    std::string room(segment.payload.substr(0, there));
    room.append(rest.size(), '?');
    segment.payload = room;
    BuiltPacket built = build_packet(guest, remote, segment, &live_buffers);
    std::vector<iovec> pieces;
    for (std::string_view left = rest; !left.empty(); left = left.substr(pieces.back().iov_len)) {
      std::string& memory =
          *lent_.emplace_back(std::make_unique<std::string>(left.substr(0, kPiece)));
      pieces.push_back({memory.data(), 0});  // a descriptor of no length
      pieces.push_back({memory.data(), memory.size()});
    }
    relay->input({.key = {guest, remote},
                  .packet = built.packet,
                  .tcp_at = built.tcp_at,
                  .header_size = built.header_size,
                  .buffer = built.buffer,
                  .lent = {.pieces = pieces, .size = rest.size()}});
  }
  /// The guest writes to what it lent.
  void change_lent() {
    for (auto& memory : lent_) std::ranges::fill(*memory, '!');
  }
  void end_lent_batch() {
    relay->run();
    engine->keep_lent();
    change_lent();
    lent_.clear();
  }
  bool has_lent() const { return !lent_.empty(); }

  /// Everything that is due now.
  void settle() {
    for (int i = 0; i < 64; ++i) {
      loop.run_ready();
      if (!port.full) engine->retry_blocked();
      if (!relay->has_work()) break;
      relay->run();
    }
    loop.run_ready();
  }
  void pass(Duration time) {
    constexpr auto kTick = std::chrono::milliseconds(stack::TcpEngine::kTickMs);
    for (; time > Duration::zero(); time -= kTick) {
      loop.advance(kTick);
      engine->tick(false);
      relay->tick();
      settle();
    }
  }

  VirtualLoop loop;
  ScriptedNet net{loop};
  ScriptedGate gate;
  PacketLog output;
  flow::IcmpAnswers icmp_answers{loop, output};
  ScriptedPort port;
  std::size_t live_buffers = 0;
  std::unique_ptr<stack::TcpEngine> engine;
  std::unique_ptr<flow::TcpRelay> relay;

 private:
  std::vector<std::unique_ptr<std::string>> lent_;
};

}  // namespace sluice::test
