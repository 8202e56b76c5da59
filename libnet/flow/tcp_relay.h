#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <net/verdict.h>

#include "base/host_net.h"
#include "base/loop.h"
#include "flow/flow_key.h"
#include "flow/gate.h"
#include "flow/icmp_answers.h"
#include "flow/read_buffer.h"
#include "flow/segment_joiner.h"
#include "flow/tcp_flow.h"
#include "flow/work_queue.h"
#include "stack/tcp_engine.h"

namespace sluice::flow {

struct TcpLimits {
  std::size_t flows = 16384;
  /// SYNs of which the host's answer is awaited. Past it the oldest is refused.
  std::size_t held_syns = 1024;
  /// Unanswered dials to one destination address and port. Past it a new one is refused.
  std::size_t held_per_destination = 256;
  /// How long the guest may take to complete a connection to a published port.
  Duration inbound_handshake = std::chrono::seconds(10);
  /// How long the guest may take for what the host sent before its RST.
  Duration drain = std::chrono::seconds(10);
  /// A flow on which nothing moved for this long is reset; zero: never.
  Duration idle = Duration::zero();
};

struct TcpCounters {
  std::size_t flows = 0;
  std::size_t held_syns = 0;
  std::uint64_t opened = 0;
  std::uint64_t refused_by_policy = 0;
  std::uint64_t refused_by_name = 0;  ///< By their first flight.
  std::uint64_t dial_refused = 0;
  std::uint64_t dial_unreachable = 0;
  std::uint64_t dial_timed_out = 0;
  std::uint64_t dial_failed = 0;  ///< No socket, no memory.
  std::uint64_t limit_flows = 0;
  std::uint64_t limit_held = 0;
  std::uint64_t limit_destination = 0;
  std::uint64_t limit_memory = 0;
  std::uint64_t bytes_to_host = 0;
  std::uint64_t bytes_to_guest = 0;
};

/// A TCP segment from the guest, checked.
struct TcpInput {
  FlowKey key;
  Bytes packet;            ///< The IP packet; it may be changed.
  Bytes frame;             ///< The packet with its Ethernet header; empty: it was none of its own.
  std::size_t tcp_at = 0;  ///< Where the TCP header starts in it.
  std::size_t header_size = 0;
  BufferRef buffer;  ///< What holds the packet.
  LentBytes lent;    ///< The end of the payload, which lies elsewhere.

  /// Nothing is lent any more; the packet may have moved.
  void complete() {
    if (!lent) return;
    std::size_t size = packet.size();
    bool is_own_frame = !frame.empty();
    Bytes whole = is_own_frame ? frame : packet;
    lent.complete(whole, buffer);
    packet = whole.last(size);
    if (is_own_frame) frame = whole;
  }
};

/// A connection from the host to the guest, to be made.
struct TcpInbound {
  Endpoint guest;
  Endpoint source;                   ///< Who the guest sees.
  ConstBytes preface;                ///< Sent to the guest first (PROXY protocol); copied.
  std::shared_ptr<const void> hold;  ///< Lives as long as the flow.
  Grant grant;
  std::optional<Endpoint> client;  ///< As it came to the host, where it is known.
  /// How long the guest may take to answer; TcpLimits::inbound_handshake if not said.
  std::optional<Duration> handshake;
};

/// All TCP flows of a Network. On the loop's thread.
class TcpRelay {
 public:
  /// Bytes that a flow may move in one direction before the others have their turn.
  static constexpr std::size_t kTurnBytes = 256 << 10;
  /// The same of what costs neither memory nor a copy before the guest has room for it: in long
  /// runs the guest acknowledges less often.
  static constexpr std::size_t kUnreadTurnBytes = 2 << 20;

  TcpRelay(Loop& loop, HostNet& host, stack::TcpEngine& engine, Gate& gate, IcmpAnswers& icmp,
           const TcpLimits& limits);
  ~TcpRelay();

  /// Takes one segment. run() must follow before the batch's buffers are let go.
  void input(TcpInput input);
  /// Takes a frame at once if it merely continues what input() had last: see SegmentJoiner. False:
  /// it has to be looked at.
  bool join(Bytes frame, const BufferRef& buffer, bool checksum_trusted, const LentBytes& lent) {
    // What is judged must be what is sent: deliver() completes it.
    if (lent && joined_flow_ && joined_flow_->inspection_) return false;
    return joiner_.add_frame(frame, buffer, checksum_trusted, lent);
  }
  /// Moves bytes for every flow that changed.
  void run();
  /// Whether run() has work left for another turn.
  bool has_work() const { return work_.has_work() || joined_flow_ != nullptr; }
  /// Called by flows when a run() is due and none is under way.
  void set_on_work(std::function<void()> on_work) { work_.set_on_work(std::move(on_work)); }

  /// Relays a connection that came from the host to the guest. Where that is impossible (a limit,
  /// the tuple in use), the client is reset and the status says why.
  Status open_inbound(std::unique_ptr<StreamSocket> client, TcpInbound inbound);
  /// Resets the inbound flows with this hold.
  void reset_inbound(const std::shared_ptr<const void>& hold);
  /// Whether a flow between these two exists that is not over: one in TIME_WAIT gives way.
  bool exists(const FlowKey& key) const {
    auto it = flows_.find(key);
    return it != flows_.end() && !(*it)->resting_;
  }

  /// Time-outs; every stack::TcpEngine::kTickMs.
  void tick();
  /// Whether tick() has anything to watch.
  bool needs_tick() const { return !timed_.empty() || limits_.idle > Duration::zero(); }
  /// The guest is gone for good: every flow is reset on the host's side.
  void reset_all();
  /// Asks the gate again about every flow; with RevokedFlows::keep only about those whose server,
  /// be it the guest, has not answered yet. What it does not allow any more is reset at once.
  void judge_again(RevokedFlows revoked);

  void each_flow(const FlowVisitor& visit) const;
  /// Resets one flow on both sides; false if there is none of this number.
  bool reset_flow(FlowId id);

  TcpCounters counters() const;

 private:
  /// Whether it may go on, by the answer to it as if it began now; keeps what allows it.
  bool is_allowed_still(TcpFlow& flow);
  /// Whether an open flow, which `route` would let begin, may go on.
  bool may_stay(TcpFlow& flow, TcpRoute route);
  friend class TcpFlow;

  static constexpr std::string_view kDestinationBusy =
      "too many connections wait for that destination";

  TcpFlow* find(const FlowKey& key);
  void begin_outbound(TcpInput& input);
  void dial_next(TcpFlow& flow);
  void on_dial_ready(TcpFlow& flow);
  void on_connected(TcpFlow& flow);
  void fail_dial(TcpFlow& flow, int error);
  void release_held(TcpFlow& flow);
  /// Counts one more dial that the destination has not answered; false where it has too many.
  bool begin_dial(const Endpoint& destination);
  void end_dial(const Endpoint& destination);
  void refuse_syn(const TcpFlow& flow);
  void deliver(TcpFlow& flow, TcpInput& input);
  void flush_joined();
  void await_syn(TcpFlow& flow);
  void report_limit(std::string_view limit);
  void set_deadline(TcpFlow& flow, Duration delay);
  void clear_deadline(TcpFlow& flow);
  void service(TcpFlow& flow);
  void inspect(TcpFlow& flow);
  void finish_inspection(TcpFlow& flow);
  void deny_first_flight(TcpFlow& flow);
  void seek_server(TcpFlow& flow);
  void on_addresses(TcpFlow& flow, std::span<const IpAddress> addresses);
  void dial_server(TcpFlow& flow);
  void on_server_ready(TcpFlow& flow);
  void on_search_late(TcpFlow& flow);
  void confirm_server(TcpFlow& flow);
  void refuse_server(TcpFlow& flow, std::string reason);
  void end_search(TcpFlow& flow);
  bool guest_to_host(TcpFlow& flow);
  bool host_to_guest(TcpFlow& flow);
  bool write_to_guest(stack::TcpEndpoint& endpoint, std::size_t bytes);
  /// From here on what the host sends is left in its socket, where that is possible.
  void leave_unread(TcpFlow& flow);
  /// Lets go of what the guest acknowledged of it. False where the socket does not have it.
  bool discard_unread(TcpFlow& flow);
  bool make_room();
  void forget_rested();
  void report_end(TcpFlow& flow, std::string_view reason);
  void kill(TcpFlow& flow, std::string_view reason);
  void reset(TcpFlow& flow, std::string_view reason);
  template <typename Condition>
  void reset_if(std::string_view reason, Condition condition);
  void forget(TcpFlow& flow);

  Loop& loop_;
  HostNet& host_net_;
  stack::TcpEngine& engine_;
  Gate& gate_;
  IcmpAnswers& icmp_;
  TcpLimits limits_;
  ReadBuffer read_buffer_;
  std::unordered_set<std::unique_ptr<TcpFlow>, TcpFlowHash, TcpFlowEqual> flows_;
  std::list<TcpFlow*> held_;
  std::unordered_map<Endpoint, std::size_t> held_to_;
  /// Deadlines: of the guest's SYN or handshake, of what is judged or looked for, of a last drain.
  std::unordered_map<TcpFlow*, TimePoint> timed_;
  /// Flows that are over but for TIME_WAIT, longest first; some may be gone.
  std::deque<FlowKey> resting_;
  WorkQueue<TcpFlow> work_{[this](TcpFlow& flow) { forget(flow); }};
  SegmentJoiner joiner_;
  TcpFlow* joined_flow_ = nullptr;  ///< Whose segments are in it.
  TcpCounters counters_;
  TimePoint limit_reported_{};
  std::uint64_t unread_streams_ = 0;  ///< That were made.
  std::uint32_t ticks_ = 0;
};

}  // namespace sluice::flow
