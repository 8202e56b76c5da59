#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include <net/verdict.h>

#include "base/buffer.h"
#include "base/host_net.h"
#include "base/loop.h"
#include "flow/flow_key.h"
#include "flow/flow_record.h"
#include "flow/gate.h"
#include "flow/icmp_answers.h"
#include "flow/work_queue.h"
#include "wire/ip.h"
#include "wire/udp.h"

namespace sluice::flow {

/// Whose datagrams reach the guest through a mapping (RFC 4787 section 5).
enum class UdpFilter : std::uint8_t {
  contacted,  ///< Only destinations that the guest sent to.
  full_cone,  ///< Anybody, once the guest sent anything.
};

struct UdpLimits {
  /// Mappings: one guest port and family each, so one host socket each at most. Past it the one
  /// that was idle longest goes.
  std::size_t sockets = 1024;
  /// Destinations remembered for one mapping. Past it the one that was idle longest goes.
  std::size_t destinations = 512;
  /// What waits for a host socket that is full, per mapping, with what keeping each of them costs.
  /// Past it datagrams are dropped.
  std::size_t queued_bytes = 1 << 20;
  /// Datagrams of one destination held until their first flight is whole. A hello has 1 to 3.
  std::size_t held_datagrams = 16;
  /// How long.
  Duration held = std::chrono::seconds(policy::FirstFlight::kPatienceSeconds);
  Duration unreplied = std::chrono::seconds(30);
  Duration replied = std::chrono::seconds(180);
  UdpFilter filter = UdpFilter::contacted;
};

struct UdpCounters {
  std::size_t mappings = 0;
  std::size_t flows = 0;      ///< Destinations of all mappings, without those refused.
  std::uint64_t to_host = 0;  ///< Datagrams.
  std::uint64_t to_guest = 0;
  std::uint64_t refused_by_policy = 0;
  std::uint64_t refused_by_name = 0;  ///< By their first flight.
  std::uint64_t filtered = 0;         ///< From somebody the guest never sent to.
  std::uint64_t overflow = 0;         ///< The host socket was full for too long.
  std::uint64_t send_failed = 0;
  std::uint64_t no_socket = 0;
  std::uint64_t evicted = 0;  ///< Mappings that went for another's sake.
};

/// All UDP conversations of a Network. Theory of operation:
///
/// Mapping is endpoint-independent (RFC 4787 section 4.1): all that the guest sends from one port
/// leaves from one host socket, whoever it is for. Each destination has a verdict, asked for once
/// and again by judge_again(). Refusals are remembered like flows, until nothing comes any more:
/// the next datagrams cost no verdict, and those of a flow that was revoked are not taken for a new
/// one, which past QUIC's hello would be judged by its address alone. Datagrams of one batch of
/// frames leave in one system call a socket; what a full socket does not take waits in a bounded
/// queue.
///
/// On the loop's thread.
class UdpRelay {
 public:
  UdpRelay(Loop& loop, HostNet& host, Gate& gate, GuestOutput& output, IcmpAnswers& icmp,
           const UdpLimits& limits);
  ~UdpRelay();

  /// A datagram of the guest, checked; its bytes lie in `buffer`. run() must follow in this turn.
  void on_datagram(const wire::Packet& packet, const wire::UdpView& datagram,
                   const BufferRef& buffer);
  /// Sends and receives what is due.
  void run();
  bool has_work() const { return work_.has_work(); }
  /// Called when a run() is due and none is under way.
  void set_on_work(std::function<void()> on_work) { work_.set_on_work(std::move(on_work)); }
  /// Asks the gate again about every flow, unless they are to be kept; what it does not allow any
  /// more is over at once, with what waits to be sent, and a socket that no flow is left for.
  void judge_again(RevokedFlows revoked);
  /// Ends every mapping.
  void clear();

  void each_flow(const FlowVisitor& visit) const;
  /// Forgets one destination of a mapping; false if there is no flow of this number.
  bool reset_flow(FlowId id);

  UdpCounters counters() const;

 private:
  /// Waits for the rest of its first flight.
  struct Held {
    std::uint32_t connection;
    std::vector<std::uint8_t> data;
    std::uint8_t ttl;
    TimePoint since;
  };
  struct Peer {
    Endpoint remote;  ///< As the guest names it.
    UdpRoute route;
    FlowRecord record;       ///< Of a flow; without a grant where it was refused.
    FlowId revoked = 0;      ///< The number that it had when it was a flow.
    std::vector<Held> held;  ///< Only while there is a first flight.
    /// While a name of its first flight is looked up; whoever answers has a weak one.
    std::shared_ptr<const DomainName> sought;
    TimePoint last;
    bool replied = false;
  };
  struct Queued {
    Endpoint to;
    iovec data;
    BufferRef buffer;  ///< What holds the data; empty: `copy` does.
    std::unique_ptr<std::uint8_t[]> copy;
    std::uint8_t ttl;
  };
  struct Mapping;

  Mapping& mapping_of(const Endpoint& guest);
  Status open_socket(Mapping& mapping);
  Peer& peer_of(Mapping& mapping, const Endpoint& remote);
  static void forget_name(Mapping& mapping, const Peer& peer);
  bool may_pass(Mapping& mapping, Peer& peer, const wire::Packet& packet, ConstBytes payload,
                std::uint8_t ttl);
  void hold(Peer& peer, std::uint32_t connection, ConstBytes payload, std::uint8_t ttl);
  void release(Mapping& mapping, Peer& peer, std::uint32_t connection);
  /// resolve-and-dial: looks up the name that awaits it, whose server has to be at this address.
  void seek_address(Mapping& mapping, Peer& peer);
  void on_addresses(Mapping& mapping, Peer& peer, std::span<const IpAddress> addresses);
  void give_up_held(Mapping& mapping, Peer& peer);
  void judge_again(Mapping& mapping, RevokedFlows revoked);
  /// Where it goes now, if it is still allowed: a flow, or one that was revoked.
  std::optional<UdpRoute> route_again(Mapping& mapping, Peer& peer, FlowId id);
  void go_on(Mapping& mapping, Peer& peer, UdpRoute route);
  void revoke(Mapping& mapping, Peer& peer);
  static FlowSight sight(const Mapping& mapping, const Peer& peer);
  /// What comes from it is no longer the guest's; its end is reported. The caller erases it.
  void end_peer(Mapping& mapping, Peer& peer, std::string_view reason);
  void send(Mapping& mapping);
  bool receive(Mapping& mapping);
  void report(Mapping& mapping, const SocketError& cause, ConstBytes payload);
  void expire();
  void close(Mapping& mapping, std::string_view reason);

  Loop& loop_;
  HostNet& host_;
  Gate& gate_;
  GuestOutput& output_;
  IcmpAnswers& icmp_;
  UdpLimits limits_;
  /// Keyed by guest endpoint; `remote` holds only the family.
  std::unordered_map<FlowKey, std::unique_ptr<Mapping>, FlowKeyHash> mappings_;
  std::list<Mapping*> by_age_;  ///< Longest idle first.
  WorkQueue<Mapping> work_;
  std::unique_ptr<Timer> timer_;
  UdpCounters counters_;
};

}  // namespace sluice::flow
