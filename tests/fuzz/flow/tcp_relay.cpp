// The input is a list of operations on a TCP relay: what a guest may send, what host sockets may
// do, what the guest's port may do, and time. After each the bytes that arrived anywhere must be
// those that were sent to there, and the limits must hold. Then everybody behaves: connections of
// which only honest things were said have to deliver everything. At last every host resets and time
// passes: no flow, no socket and no buffer may be left.

#include <array>
#include <cerrno>

#include "check.h"
#include "flow/ledger.h"
#include "flow/relay_world.h"

namespace {

using namespace sluice;
using namespace sluice::test;

constexpr std::size_t kConnections = 8;
/// What one host may be fed, so that an input does not take seconds.
constexpr std::size_t kMostFed = 1 << 20;
constexpr std::size_t kSegment = 1400;
constexpr std::size_t kMemoryBudget = 400 << 10;

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool done() const { return left_ == 0; }
  std::uint8_t next() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

class Play {
 public:
  explicit Play(Script script)
      : world_(limits(), {.memory_budget = kMemoryBudget}), script_(script) {
    for (std::size_t i = 0; i < kConnections; ++i) {
      Connection& it = connections_[i];
      it.guest = {IpAddress::v4(192, 168, 127, 2), Port(static_cast<std::uint16_t>(1000 + i))};
      it.remote = {IpAddress::v4(198, 51, 100, 1), Port(static_cast<std::uint16_t>(80 + i % 3))};
      it.sequence = it.acknowledged = static_cast<std::uint32_t>(i) << 29;
    }
    world_.net.on_dial = [this](StreamPeer& peer) { on_dial(peer); };
    world_.gate.tcp = [this](const Endpoint& to) { return route(to); };
  }

  void run() {
    while (!script_.done()) {
      step();
      check();
    }
    behave();
    end();
  }

 private:
  static flow::TcpLimits limits() {
    flow::TcpLimits limits;
    limits.flows = 6;
    limits.held_syns = 4;
    limits.held_per_destination = 2;
    return limits;
  }

  // The host's side.

  flow::TcpRoute route(const Endpoint& to) {
    using Kind = flow::TcpRoute::Kind;
    flow::TcpRoute route;
    route.kind = route_;
    // A later address is dialled from run(): its port tells whose it is.
    if (route_ == Kind::dial) {
      Port own(static_cast<std::uint16_t>(9000 + current_));
      route.addresses = {to, {to.address, own}, {to.address, own}};
    }
    if (route_ == Kind::dial_unix) route.path = "/run/service";
    if (route_ == Kind::session && dialling_) {
      auto socket = world_.net.dial_tcp(to);
      if (socket) {
        world_.net.dials.back()->connect();
        route.session = std::move(*socket);
      } else {
        route.kind = Kind::refuse;
      }
    }
    return route;
  }

  void on_dial(StreamPeer& peer) {
    // What was said before it is the old connection's.
    take_segments();
    std::size_t port = peer.remote ? peer.remote->port.value() : 0u;
    Connection& it = connections_[port >= 9000 ? port - 9000 : current_];
    it.far = std::make_shared<FarEnd>();
    it.far->peer = world_.net.dials.back();
    it.far->id = hosts_.size();
    hosts_.push_back(it.far);
    it.first.reset();
  }

  void inbound(std::size_t i) {
    // A client's connection, such as a listener would give.
    current_ = i;
    auto before = connections_[i];
    auto socket = world_.net.dial_tcp(connections_[i].remote);
    if (!socket) return;
    std::shared_ptr<FarEnd> far = connections_[i].far;
    far->peer->connect();
    if ((script_.next() & 1) != 0) far->preface = "PROXY";
    far->fed = far->preface.size();
    auto hold = std::make_shared<int>(0);
    ConstBytes preface(reinterpret_cast<const std::uint8_t*>(far->preface.data()), far->fed);
    Status status = world_.relay->open_inbound(
        std::move(*socket),
        {.guest = connections_[i].guest,
         .source = connections_[i].remote,
         .preface = preface,
         .hold = hold,
         .grant = world_.gate.allow_ingress(Protocol::tcp, {}, connections_[i].guest, 0),
         .client = {},
         .handshake = {}});
    if (status) {
      holds_[i] = hold;
      connections_[i].first_bytes.clear();
    } else {
      FUZZ_CHECK(far->peer->closed() && far->peer->was_reset());
      connections_[i] = before;
    }
  }

  // The guest's side.

  void input(Connection& it, GuestSegment segment, std::size_t size) {
    std::string payload;
    std::uint32_t at = segment.sequence + ((segment.flags & kSyn) != 0 ? 1 : 0);
    for (std::size_t i = 0; i < size; ++i) {
      payload += guest_byte(at + static_cast<std::uint32_t>(i));
    }
    segment.payload = payload;
    if ((segment.flags & kSyn) != 0) it.on_syn_sent(segment.sequence);
    if ((segment.flags & kFin) != 0) it.fins.push_back(at + static_cast<std::uint32_t>(size));
    if ((segment.flags & kRst) != 0) it.reset = true;
    current_ = static_cast<std::size_t>(&it - connections_.data());
    dialling_ = true;
    if (lends_ && size > 0) {
      world_.input_lent(it.guest, it.remote, segment, size / 3);
    } else {
      world_.input(it.guest, it.remote, segment);
    }
    dialling_ = false;
  }

  /// The next in order, as a real guest would send it.
  void send(Connection& it, std::uint8_t flags, std::size_t size) {
    if (it.fin_sent && (size > 0 || (flags & (kSyn | kFin)) != 0)) it.honest = false;
    std::uint16_t window = windows_[static_cast<std::size_t>(&it - connections_.data())];
    input(it,
          {.sequence = it.sequence, .acknowledgment = it.next(), .flags = flags, .window = window},
          size);
    it.sequence += static_cast<std::uint32_t>(size) + ((flags & (kSyn | kFin)) != 0 ? 1 : 0);
    it.fin_sent |= (flags & kFin) != 0;
  }

  void open(Connection& it) {
    static const std::array<std::vector<std::uint8_t>, 5> kOptions{{
        {2, 4, 5, 180, 1, 3, 3, 7},
        {2, 4, 0, 1, 1, 3, 3, 14},
        {2, 4, 0xff, 0xff, 4, 2, 1, 1},
        {1, 3, 3, 0},
        {},
    }};
    bool fresh = !it.far || it.far->peer->closed();
    if (fresh) {
      it.honest = true;
      it.fin_sent = it.fin_received = it.reset = false;
      it.first_bytes.clear();
      it.fins.clear();
      it.sequence += script_.next() * 65537u;
    } else {
      it.honest = false;
    }
    GuestSegment segment{.sequence = it.sequence, .flags = kSyn};
    segment.options = kOptions[script_.next() % kOptions.size()];
    input(it, segment, 0);
    it.sequence += 1;
    it.acknowledged = it.sequence;
  }

  /// The same SYN once more.
  void repeat_open(Connection& it) {
    if (it.first_bytes.size() != 1) return;
    input(it, {.sequence = it.first_bytes[0] - 1, .flags = kSyn, .options = {2, 4, 5, 180}}, 0);
    if (it.first_bytes[0] != it.sequence) it.honest = false;
  }

  void answer_inbound(Connection& it) {
    if (!it.first || !it.first_bytes.empty()) return;
    it.fin_sent = false;
    it.honest = true;
    it.fins.clear();
    GuestSegment segment{
        .sequence = it.sequence, .acknowledgment = *it.first, .flags = kSyn | kAck};
    if ((script_.next() & 1) != 0) segment.options = {2, 4, 0, 1, 1, 3, 3, 14};
    input(it, segment, 0);
    it.sequence += 1;
    it.acknowledged = it.sequence;
  }

  void resend(Connection& it) {
    std::uint32_t missing = it.sequence - it.acknowledged;
    if (missing == 0 || missing > 0x7fffffff) return;
    bool fin = it.fin_sent && missing <= kSegment + 1;
    std::size_t size = std::min<std::size_t>(it.fin_sent ? missing - 1 : missing, kSegment);
    auto flags = static_cast<std::uint8_t>(fin ? kAck | kFin : kAck);
    input(it, {.sequence = it.acknowledged, .acknowledgment = it.next(), .flags = flags}, size);
  }

  void garbage(Connection& it) {
    it.honest = false;
    wire::TcpFlags flags{script_.next()};
    std::uint8_t shape = script_.next();
    GuestSegment segment{.sequence = it.sequence, .acknowledgment = it.next(), .flags = flags.bits};
    segment.window = static_cast<std::uint16_t>(script_.next() << (shape & 7));
    segment.sequence += static_cast<std::uint32_t>(static_cast<std::int8_t>(script_.next())) *
                        ((shape & 8) != 0 ? 1u : 9973u);
    if ((shape & 16) != 0) segment.acknowledgment += script_.next() * 127u - 16000u;
    if ((shape & 32) != 0) segment.options = {3, 3, 14, 2, 4, 0, 1, 0};
    // The dispatcher lets nothing else through.
    if (flags.are_sane()) input(it, segment, (shape & 64) != 0 ? script_.next() * 5u : 0);
  }

  // What an input is made of.

  void step() {
    std::uint8_t operation = script_.next();
    Connection& it = connections_[operation >> 5];
    std::size_t i = operation >> 5;
    StreamPeer* host = it.far ? it.far->peer.get() : nullptr;
    bool open_host = host && host->connected() && !it.far->ended;
    switch (operation & 31) {
      case 0:
        return open(it);
      case 1:
        if (host) host->connect();
        return world_.settle();
      case 2:
        return send(it, kAck, 0);
      case 3:
        return send(it, kAck | kPsh, script_.next() * 6u);
      case 4:
        for (int n = script_.next() & 15; n > 0; --n) send(it, kAck, kSegment);
        return;
      case 5:
        return send(it, kFin | kAck, script_.next());
      case 6:
        return resend(it);
      case 7:
        it.honest = false;
        return send(it, kRst | kAck, 0);
      case 8:
        return garbage(it);
      case 9:
        return repeat_open(it);
      case 10:
        windows_[i] = static_cast<std::uint16_t>(script_.next() << (script_.next() & 7));
        return send(it, kAck, 0);
      case 11:
        windows_[i] = 65535;
        return send(it, kAck, 0);
      case 12:
        if (host) host->refuse((script_.next() & 1) != 0 ? ECONNREFUSED : EHOSTUNREACH);
        return world_.settle();
      case 13:
        if (open_host) it.far->feed(script_.next() * 8u);
        return world_.settle();
      case 14:
        if (open_host && it.far->fed < kMostFed) it.far->feed(script_.next() * 1024u);
        return world_.settle();
      case 15:
        if (open_host) {
          it.far->ended = true;
          host->feed_end();
        }
        return;
      case 16:
        if (host && host->connected()) host->reset();
        return;
      case 17:
        if (host) host->set_send_room(script_.next() * 7u);
        return;
      case 18:
        if (host) host->set_send_room(kUnlimited);
        return;
      case 19:
        if (host) host->set_receive_limit(script_.next() * 16u + 1);
        return;
      case 20:
        world_.port.full = !world_.port.full;
        return;
      case 21:
        return world_.port.release_frames();
      case 22:
        return world_.pass(std::chrono::milliseconds(250 * (script_.next() & 15)));
      case 23:
        return inbound(i);
      case 24:
        return answer_inbound(it);
      case 25: {
        using Kind = flow::TcpRoute::Kind;
        static constexpr std::array kKinds{Kind::dial,       Kind::dial,     Kind::dial_unix,
                                           Kind::session,    Kind::prohibit, Kind::refuse,
                                           Kind::unreachable};
        route_ = kKinds[script_.next() % kKinds.size()];
        return;
      }
      case 26:
        return world_.relay->judge_again(i % 2 == 0 ? RevokedFlows::reset : RevokedFlows::keep);
      case 27:
        if (holds_[i]) world_.relay->reset_inbound(holds_[i]);
        return;
      case 28:
        world_.net.dial_status =
            world_.net.dial_status ? Status(StatusCode::exhausted, "no descriptors") : Status::ok();
        return;
      case 29:
        if (script_.next() == 0) world_.relay->reset_all();
        return;
      case 30:
        ++driver_;
        lends_ = (driver_ & 1) != 0;
        world_.port.takes = (driver_ & 2) != 0;
        return;
      default:
        return world_.settle();
    }
  }

  // What has to hold.

  void take_segments() {
    for (const SeenSegment& one : world_.port.take()) {
      for (Connection& it : connections_) {
        if (it.guest == one.destination && it.remote == one.source) it.on_segment(one);
      }
    }
  }

  void check() {
    if (world_.has_lent()) world_.end_lent_batch();
    take_segments();
    std::size_t sent = 0;
    for (Connection& it : connections_) it.check_host();
    for (const auto& host : hosts_) sent += host->peer->sent().size();
    flow::TcpCounters counters = world_.relay->counters();
    FUZZ_CHECK(counters.bytes_to_host == sent);
    FUZZ_CHECK(counters.flows <= limits().flows);
    FUZZ_CHECK(counters.held_syns <= limits().held_syns);
    // Past the budget each flow keeps 64 KiB, and the write that reaches it may be a whole queue.
    constexpr std::size_t kMost = kMemoryBudget + (1 << 20) + 6 * (64 << 10);
    FUZZ_CHECK(world_.engine->counters().memory_bytes <= kMost);
    FUZZ_CHECK(world_.engine->counters().endpoints <= counters.flows);
  }

  bool is_open(const Connection& it) const {
    return it.far && it.far->peer->connected() && !it.far->peer->closed() && it.first && !it.reset;
  }

  void behave() {
    world_.port.full = false;
    windows_.fill(65535);
    for (const auto& host : hosts_) {
      host->peer->set_send_room(kUnlimited);
      host->peer->set_receive_limit(kUnlimited);
    }
    bool changed = true;
    for (int round = 0; changed && round < 1000; ++round) {
      world_.port.release_frames();
      auto before = connections_;
      for (Connection& it : connections_) {
        if (!is_open(it)) continue;
        if (it.sequence != it.acknowledged) resend(it);
        send(it, kAck, 0);
      }
      // Window probes and retransmissions have seconds between them.
      world_.pass(std::chrono::seconds(round < 10 ? 2 : 0));
      world_.settle();
      check();
      changed = round < 10;
      for (std::size_t i = 0; i < kConnections; ++i) {
        changed |= connections_[i].received != before[i].received ||
                   connections_[i].acknowledged != before[i].acknowledged;
      }
    }
    for (Connection& it : connections_) {
      if (!it.honest || !is_open(it)) continue;
      FUZZ_CHECK(it.far->peer->unread() == 0);
      FUZZ_CHECK(it.received == it.far->fed);
      FUZZ_CHECK(it.fin_received == it.far->ended);
      FUZZ_CHECK(it.acknowledged == it.sequence);
      FUZZ_CHECK(it.far->peer->saw_end() == it.fin_sent);
    }
  }

  void end() {
    for (const auto& host : hosts_) {
      host->peer->refuse(ECONNREFUSED);
      if (host->peer->connected()) host->peer->reset();
    }
    world_.settle();
    world_.pass(std::chrono::seconds(75));
    world_.port.release_frames();
    FUZZ_CHECK(world_.relay->counters().flows == 0);
    FUZZ_CHECK(world_.relay->counters().held_syns == 0);
    FUZZ_CHECK(!world_.relay->has_work());
    FUZZ_CHECK(!world_.relay->needs_tick());
    FUZZ_CHECK(!world_.engine->needs_tick());
    FUZZ_CHECK(world_.engine->counters().endpoints == 0);
    FUZZ_CHECK(world_.engine->counters().memory_bytes == 0);
    FUZZ_CHECK(world_.net.open_streams() == 0);
    FUZZ_CHECK(world_.live_buffers == 0);
  }

  RelayWorld world_;
  Script script_;
  std::array<Connection, kConnections> connections_;
  std::array<std::uint16_t, kConnections> windows_ = [] {
    std::array<std::uint16_t, kConnections> windows;
    windows.fill(65535);
    return windows;
  }();
  std::array<std::shared_ptr<int>, kConnections> holds_;
  std::vector<std::shared_ptr<FarEnd>> hosts_;
  flow::TcpRoute::Kind route_ = flow::TcpRoute::Kind::dial;
  std::size_t current_ = 0;  ///< The connection whose segment is being given.
  unsigned driver_ = 0;      ///< What the guest's NIC can do changes with its driver.
  bool lends_ = false;       ///< The guest's payload is lent.
  bool dialling_ = false;    ///< Not: the policy is being asked again.
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Play(Script(data, size)).run();
  return 0;
}
