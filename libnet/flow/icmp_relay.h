#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/host_net.h"
#include "base/loop.h"
#include "flow/gate.h"
#include "flow/icmp_answers.h"
#include "wire/icmp.h"
#include "wire/ip.h"

namespace sluice::flow {

struct IcmpLimits {
  /// Echo requests without an answer yet. Past it the oldest is forgotten.
  std::size_t pending = 1024;
  Duration timeout = std::chrono::seconds(10);
};

struct IcmpCounters {
  std::size_t pending = 0;
  std::uint64_t requests = 0;
  std::uint64_t replies = 0;
  std::uint64_t errors = 0;  ///< Unreachable and time exceeded, passed to the guest.
  std::uint64_t refused_by_policy = 0;
  std::uint64_t not_permitted = 0;  ///< This host gives us no ping socket.
  std::uint64_t evicted = 0;
};

/// Echo requests of the guest to the world, by unprivileged ping sockets: one a family, opened at
/// the first request. The kernel owns the identifier of such a socket, so every request gets a
/// sequence number of ours, by which its reply or error is found again. On the loop's thread.
class IcmpRelay {
 public:
  IcmpRelay(Loop& loop, HostNet& host, Gate& gate, GuestOutput& output, IcmpAnswers& answers,
            const IcmpLimits& limits = {});
  ~IcmpRelay();

  /// An echo request of the guest, checked, for another address than the gateway's.
  void on_echo(const wire::Packet& packet, const wire::IcmpView& echo);
  /// Takes replies.
  void run();
  bool has_work() const;
  void set_on_work(std::function<void()> on_work) { on_work_ = std::move(on_work); }

  void each_flow(const FlowVisitor& visit) const;
  /// Forgets one request; false if there is none of this number.
  bool reset_flow(FlowId id);

  IcmpCounters counters() const;

 private:
  struct Request {
    IpAddress guest;
    IpAddress remote;
    std::uint16_t identifier;
    std::uint16_t sequence;
    std::uint16_t our_sequence;
    FlowRecord record;  ///< Begun when it was sent.
  };
  /// The socket of a family and what is on its way through it.
  struct Side;

  Side& side(Family family);
  bool open(Side& side);
  void receive(Side& side);
  void on_reply(Side& side, const InDatagram& datagram);
  void on_queued_error(Side& side, const SocketError& error);
  static FlowSight sight(const Request& request);
  void expire();

  Loop& loop_;
  HostNet& host_;
  Gate& gate_;
  GuestOutput& output_;
  IcmpAnswers& answers_;
  IcmpLimits limits_;
  std::array<std::unique_ptr<Side>, 2> sides_;
  std::unique_ptr<Timer> timer_;
  std::function<void()> on_work_;
  IcmpCounters counters_;
};

}  // namespace sluice::flow
