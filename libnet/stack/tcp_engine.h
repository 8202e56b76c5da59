#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <net/address.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/unread_bytes.h"
#include "stack/unread_space.h"

struct tcp_pcb;
struct tcp_pcb_listen;
struct pbuf;
struct netif;

namespace sluice::stack {

/// A TCP segment for the guest, as lwIP made it. No checksum is filled in.
struct OutSegment {
  IpAddress source;
  IpAddress destination;
  ConstBytes header;               ///< The TCP header with its options; copied by send_segment().
  std::span<const iovec> payload;  ///< Valid until `release`, or during the call if that is null.
  std::size_t payload_size = 0;    ///< Sum of the pieces, and of `unread`.
  UnreadBytes unread = {};         ///< What follows the pieces; valid as they are.
  /// Cut the payload into segments of at most this many bytes; 0: it fits as it is.
  std::uint16_t segment_size = 0;
  /// Nobody sends it again if it is refused (a RST without a connection).
  bool unrepeatable = false;
  void (*release)(void* owner) = nullptr;
  void* owner = nullptr;
};

/// Where segments for the guest go.
class SegmentSink {
 public:
  /// False: no room; nothing was kept, and retry_blocked() is called once there is room.
  virtual bool send_segment(const OutSegment& segment) = 0;
  /// Whether segments may end in UnreadBytes.
  virtual bool takes_unread() const { return false; }

 protected:
  ~SegmentSink() = default;
};

enum class CloseReason : std::uint8_t {
  none,       ///< Still there.
  finished,   ///< Both sides closed, everything was delivered.
  reset,      ///< The guest sent RST.
  timed_out,  ///< The guest stopped answering, or never did.
  aborted,    ///< By us.
};

class TcpEndpoint;

/// Told that an endpoint changed. May be called from inside TcpEngine calls, so it only makes a
/// note and acts later: calling the engine or an endpoint from here is not allowed.
class EndpointOwner {
 public:
  virtual void on_endpoint_changed() = 0;

 protected:
  ~EndpointOwner() = default;
};

/// A segment from the guest.
struct InSegment {
  Bytes header;                    ///< TCP header with options, already validated; written to.
  std::span<const iovec> payload;  ///< In order; more than one piece where segments were joined.
  /// What holds each piece, index by index; an empty one where it is lent (keep_lent()).
  std::span<const BufferRef> buffers;
  std::size_t payload_size = 0;  ///< At most 65515 bytes.
};

struct TcpEngineConfig {
  std::uint16_t mtu = 65520;  ///< Of the guest's link.
  /// Bytes that receive windows and send queues of all endpoints together may stand for.
  std::size_t memory_budget = std::size_t{512} << 20;
};

struct TcpEngineCounters {
  std::uint64_t segments_in = 0;
  std::uint64_t segments_out = 0;
  std::uint64_t retransmissions = 0;
  std::uint64_t resets_out = 0;
  std::uint64_t blocked = 0;  ///< Times the sink had no room.
  std::size_t memory_bytes = 0;
  std::size_t endpoints = 0;
};

/// lwIP as a TCP engine for connections of which the guest is one end: no IP input, no routing, no
/// ports of its own. Theory of operation:
///
/// - One process has one lwIP, so one engine; create() refuses a second.
/// - Every endpoint keeps its own PCB list heads; they are put into lwIP's globals around each call
///   that may touch lists (`Entered` in the .cpp), so that finding a PCB never walks other flows.
/// - lwIP's callbacks only record. Nothing is freed, aborted or entered inside one.
/// - Options of a segment that isn't a SYN are cut off before lwIP sees them: it uses none of them,
///   2.2.1 reads past malformed ones, and takes an MSS option at any time, which would let a guest
///   reach one of its asserts. So would payload beyond the window, which is cut off likewise.
/// - Only endpoints with timer work (`needs_timer`) are joined into one list for a tick.
///
/// All calls on one thread.
class TcpEngine {
 public:
  /// already_exists if there is an engine in this process. `sink` outlives the engine.
  static Result<std::unique_ptr<TcpEngine>> create(const TcpEngineConfig& config,
                                                   SegmentSink& sink);
  ~TcpEngine();
  TcpEngine(const TcpEngine&) = delete;
  TcpEngine& operator=(const TcpEngine&) = delete;

  /// Completes the guest's connection attempt: `syn` is its SYN, header and options, as it came and
  /// validated. nullptr if memory or the budget does not allow it.
  std::unique_ptr<TcpEndpoint> accept(const Endpoint& guest, const Endpoint& remote, ConstBytes syn,
                                      EndpointOwner& owner);
  /// Begins a connection to the guest that comes from `remote`. nullptr as above.
  std::unique_ptr<TcpEndpoint> connect(const Endpoint& guest, const Endpoint& remote,
                                       EndpointOwner& owner);
  /// Answers a segment of no connection with the RST that RFC 9293 3.10.7.1 wants, none for a RST.
  void refuse(const Endpoint& guest, const Endpoint& remote, const InSegment& segment);

  /// Copies what still waits, anywhere, of pieces without a buffer: to be called before they may
  /// change.
  void keep_lent();

  /// Whether it is of use to give endpoints what is unread: the sink takes it as it is.
  bool takes_unread() const { return unread_space_.exists() && sink_.takes_unread(); }

  /// Sends what was blocked for want of room, oldest first, until there is none again.
  void retry_blocked();

  /// Retransmission, persist and close timers: to be called every kTick while needs_tick().
  /// `guest_silent`: nothing came from the guest since the last tick; then no connection is given
  /// up, as the VM may be paused.
  static constexpr std::uint32_t kTickMs = 250;
  bool needs_tick() const;
  void tick(bool guest_silent);

  TcpEngineCounters counters() const;

  /// lwIP's view of the adapter; public only so that the endpoint's file can name it.
  struct Callbacks;

 private:
  friend class TcpEndpoint;
  class Entered;

  TcpEngine(const TcpEngineConfig& config, SegmentSink& sink);
  Status start();
  std::unique_ptr<TcpEndpoint> make_endpoint(EndpointOwner& owner);
  void set_current_addresses(const IpAddress& guest, const IpAddress& remote);
  void input(TcpEndpoint& endpoint, pbuf* packet);
  void shutdown(TcpEndpoint& endpoint);
  void abort(TcpEndpoint& endpoint);
  void forget(TcpEndpoint& endpoint);
  bool send(TcpEndpoint* endpoint, pbuf* packet, const IpAddress& source,
            const IpAddress& destination, std::size_t ip_header);
  void after_call(TcpEndpoint& endpoint);
  void queue_blocked(TcpEndpoint& endpoint);

  TcpEngineConfig config_;
  SegmentSink& sink_;
  HashKey isn_key_;
  UnreadSpace unread_space_;
  std::unique_ptr<netif> netif_;
  tcp_pcb_listen* listener_ = nullptr;
  std::vector<TcpEndpoint*> timer_set_;
  std::vector<TcpEndpoint*> blocked_;  ///< Oldest first; nullptr for those that have gone.
  std::size_t memory_used_ = 0;
  std::size_t endpoints_ = 0;
  std::uint32_t silent_ticks_ = 0;
  bool slow_tick_ = false;
  TcpEngineCounters counters_;
};

/// The guest's end of one connection, seen from the gateway. Destroying it resets the connection if
/// it is still there.
class TcpEndpoint {
 public:
  ~TcpEndpoint();
  TcpEndpoint(const TcpEndpoint&) = delete;
  TcpEndpoint& operator=(const TcpEndpoint&) = delete;

  /// The handshake is complete.
  bool established() const { return established_; }
  /// Not none: lwIP has forgotten the connection; what was received can still be read.
  CloseReason closed() const { return closed_; }
  /// Both sides closed in order and everything was acknowledged; only the addresses still rest.
  bool in_time_wait() const { return in_time_wait_; }

  /// Gives lwIP a segment of this connection. finish_batch() must follow.
  void input(const InSegment& segment);
  /// After a batch of input, consume and write calls: acknowledges once, opens the window, sends.
  void finish_batch();

  // Guest to host.
  std::size_t received() const { return received_; }
  /// Describes the received bytes after the oldest `skip`; returns how many iovecs were filled.
  std::size_t peek(std::span<iovec> out, std::size_t skip = 0) const;
  /// Frees the oldest `bytes` received and lets the guest send as much again, and more where the
  /// window was the limit and the budget allows it.
  void consume(std::size_t bytes);
  /// The guest sent FIN; received() bytes come before it.
  bool fin_received() const { return fin_received_; }
  /// Copies what is queued into memory of its own where it pins much larger buffers.
  void compact_received();
  /// Copies what is queued into few pieces where it is more than `most` of them. Cost is linear in
  /// the bytes.
  void merge_received(std::size_t most);

  // Host to guest.
  /// Bytes that write() takes now.
  std::size_t send_space() const;
  /// As much of `bytes`, of what is to be written next, as makes whole segments; less than one only
  /// where less than one waits to be acknowledged, so that of a stream that goes on no segment is
  /// short for want of room (the sender's side of RFC 9293 section 3.8.6.2.1).
  std::size_t whole_segments(std::size_t bytes) const;
  /// Queues `data`, at most send_space() bytes. It lies in `buffer` and stays unchanged until that
  /// is let go; without a buffer it is copied. Returns how much was queued: less where memory is
  /// short.
  std::size_t write(const BufferRef& buffer, ConstBytes data);
  /// The same of bytes that nobody has read, at most unread_space() of them: `source` has them from
  /// `position` on, which is where the last such call ended, and keeps them until they are let go.
  /// It is the same one until all are.
  std::size_t write_unread(UnreadSource& source, std::uint64_t position, std::size_t bytes);
  /// Bytes that write_unread() takes now: they cost no memory of ours.
  std::size_t unread_space() const;
  /// What source need not keep any more of what was written, since the last call.
  std::size_t take_let_go() { return std::exchange(let_go_, 0); }
  /// Everything written was acknowledged by the guest.
  bool all_acknowledged() const;
  /// FIN after what was written. Safe to repeat.
  void shutdown_send();
  bool send_shut() const { return send_shut_; }
  /// Resets the connection: RST to the guest, whatever is queued is dropped.
  void abort();
  /// Forgets a connection in TIME_WAIT, so that its addresses can be used again.
  void discard_time_wait();

  class Shared;  ///< What frames in the port may still refer to after the endpoint is gone.

 private:
  friend class TcpEngine;
  friend struct TcpEngine::Callbacks;

  /// A new connection's window, bytes. Grows to lwIP's TCP_WND where the guest fills it and the
  /// host takes it.
  static constexpr std::uint32_t kFirstWindow = 64 << 10;

  TcpEndpoint(TcpEngine& engine, EndpointOwner& owner);
  void adopt_pcb();
  void narrow_window();
  void on_established();
  void on_gone(CloseReason reason);
  void on_received(pbuf* chain);
  /// How much of a segment's payload lwIP may see; takes a FIN that it may not see off the header.
  std::size_t acceptable(Bytes header, std::size_t size);
  void acknowledge(std::size_t bytes);
  void open_window(std::uint32_t bytes);
  std::size_t room(std::size_t most, std::size_t queued) const;
  /// More than the guest can soon take is as well off in the host's socket.
  std::size_t useful_queue() const;
  std::size_t unread() const;
  void hold(const BufferRef& buffer, std::size_t bytes);
  /// Reads what is unread of the first `most` bytes to be sent next, with nothing under way: lwIP
  /// will look at them. False: they are not there, or there is no memory.
  bool fetch_head(std::size_t most);
  /// The largest window that the guest showed, or what it is taken for at least.
  std::uint32_t widest_window() const;
  void output();
  bool split_head();
  bool needs_timer() const;
  void before_tick(bool guest_silent);
  void after_tick();
  void release_window();
  void mark_changed() {
    if (owner_) owner_->on_endpoint_changed();
  }

  TcpEngine& engine_;
  EndpointOwner* owner_;
  tcp_pcb* pcb_ = nullptr;
  tcp_pcb* active_ = nullptr;  ///< This connection's heads of lwIP's lists.
  tcp_pcb* time_wait_ = nullptr;
  Shared* shared_ = nullptr;  ///< Or none: nothing is held.
  std::vector<pbuf*> rx_;  ///< Received chains, oldest at rx_head_; no memory while there is none.
  std::uint32_t rx_head_ = 0;
  std::uint32_t received_ = 0;
  // Bytes of the engine's budget.
  std::uint32_t window_ = 0;       ///< What the guest may have unread here at most.
  std::uint32_t send_queued_ = 0;  ///< Written and not yet acknowledged; less what is unread.
  std::uint32_t let_go_ = 0;       ///< See take_let_go().

  std::uint32_t since_growth_ = 0;       ///< Bytes consumed since the window last grew, up to it.
  std::optional<std::uint32_t> fin_at_;  ///< Sequence number of the guest's FIN, once seen.
  std::uint32_t timer_place_ = 0;        ///< In the engine's timer_set_, if in_timer_set_.
  std::uint32_t blocked_place_ = 0;      ///< In its blocked_, if is_blocked_.
  std::uint16_t guest_mss_ = 0;
  std::uint16_t quiet_ticks_ = 0;     ///< Since the guest last said anything, while closing.
  std::uint8_t retransmissions_ = 0;  ///< lwIP's count before a tick.
  CloseReason closed_ = CloseReason::none;
  bool established_ : 1 = false;
  bool fin_received_ : 1 = false;
  bool send_shut_ : 1 = false;
  bool aborting_ : 1 = false;
  bool in_time_wait_ : 1 = false;
  bool in_timer_set_ : 1 = false;
  bool is_blocked_ : 1 = false;
};

}  // namespace sluice::stack
