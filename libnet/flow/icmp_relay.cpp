#include "flow/icmp_relay.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace sluice::flow {

namespace {
constexpr std::uint8_t kUsualTtl = 64;
}  // namespace

struct IcmpRelay::Side final : SocketHandler {
  using Requests = std::list<Request>;

  Side(IcmpRelay& owner, Family of) : relay(owner), family(of) {}

  void forget(Requests::iterator request, std::string_view reason) {
    relay.gate_.on_flow_closed(sight(*request), reason);
    by_sequence.erase(request->our_sequence);
    requests.erase(request);
  }

  void on_socket_ready(SocketReady ready) override {
    readable |= ready.readable || ready.error;
    if (relay.on_work_) relay.on_work_();
  }

  IcmpRelay& relay;
  Family family;
  std::unique_ptr<DatagramSocket> socket;
  Requests requests;  ///< Oldest first.
  std::unordered_map<std::uint16_t, Requests::iterator> by_sequence;
  std::uint16_t next_sequence = 1;
  std::uint8_t ttl = kUsualTtl;
  bool readable = false;
  bool reported = false;
};

IcmpRelay::IcmpRelay(Loop& loop, HostNet& host, Gate& gate, GuestOutput& output,
                     IcmpAnswers& answers, const IcmpLimits& limits)
    : loop_(loop),
      host_(host),
      gate_(gate),
      output_(output),
      answers_(answers),
      limits_(limits),
      sides_{std::make_unique<Side>(*this, Family::v4), std::make_unique<Side>(*this, Family::v6)},
      timer_(loop.make_timer([this] { expire(); })) {}

IcmpRelay::~IcmpRelay() = default;

IcmpRelay::Side& IcmpRelay::side(Family family) {
  return *sides_[family == Family::v4 ? 0 : 1];
}

bool IcmpRelay::has_work() const {
  return std::any_of(sides_.begin(), sides_.end(), [](const auto& side) { return side->readable; });
}

bool IcmpRelay::open(Side& side) {
  if (side.socket) return true;
  auto socket = host_.open_ping(side.family);
  if (!socket) {
    if (!std::exchange(side.reported, true)) {
      log(LogLevel::warn,
          "echo requests of the guest are refused: {}; widen net.ipv4.ping_group_range to this "
          "process's group to allow them",
          socket.status().message());
    }
    return false;
  }
  side.socket = std::move(*socket);
  side.socket->set_handler(&side);
  return true;
}

void IcmpRelay::on_echo(const wire::Packet& packet, const wire::IcmpView& echo) {
  Grant grant = gate_.allow_echo(packet.source(), packet.destination());
  if (!grant) {
    ++counters_.refused_by_policy;
    answers_.send(packet.source(), packet.bytes(), wire::IcmpError::admin_prohibited);
    return;
  }
  Side& side = this->side(packet.family());
  if (!open(side)) {
    ++counters_.not_permitted;
    answers_.send(packet.source(), packet.bytes(), wire::IcmpError::admin_prohibited);
    return;
  }
  while (side.requests.size() >= limits_.pending || side.by_sequence.contains(side.next_sequence)) {
    ++counters_.evicted;
    side.forget(side.requests.begin(), "it waited longest, and another needs its place");
  }
  std::uint8_t ttl =
      packet.ttl() < kUsualTtl ? static_cast<std::uint8_t>(packet.ttl() - 1) : kUsualTtl;
  if (ttl != side.ttl) {
    side.socket->set_ttl(ttl);
    side.ttl = ttl;
  }
  std::vector<std::uint8_t> message(wire::kIcmpHeaderSize + echo.payload().size());
  wire::IcmpEcho request{.kind = wire::EchoKind::request,
                         .identifier = 0,
                         .sequence = side.next_sequence,
                         .data = echo.payload()};
  request.emit(message, packet.source(), packet.destination());
  iovec piece{message.data(), message.size()};
  OutDatagram datagram{{packet.destination(), Port()}, {&piece, 1}};
  IoResult result = side.socket->send_batch({&datagram, 1});
  if (!result.ok() && !result.would_block()) {
    answers_.send(packet.source(), packet.bytes(),
                  icmp_for(result.error).value_or(wire::IcmpError::host_unreachable));
    return;
  }
  ++counters_.requests;
  FlowRecord record{
      .grant = std::move(grant), .opened = loop_.now(), .tx_bytes = echo.payload().size()};
  auto it = side.requests.insert(side.requests.end(),
                                 {packet.source(), packet.destination(), echo.identifier(),
                                  echo.sequence(), side.next_sequence, std::move(record)});
  side.by_sequence.emplace(side.next_sequence++, it);
  if (!timer_->active()) timer_->start(limits_.timeout);
}

void IcmpRelay::run() {
  for (auto& side : sides_) {
    if (side->readable) receive(*side);
  }
}

void IcmpRelay::receive(Side& side) {
  while (true) {
    while (auto error = side.socket->take_queued_error()) on_queued_error(side, *error);
    auto datagrams = side.socket->receive_batch().datagrams;
    if (datagrams.empty()) break;
    for (const InDatagram& datagram : datagrams) on_reply(side, datagram);
  }
  side.readable = false;
}

void IcmpRelay::on_reply(Side& side, const InDatagram& datagram) {
  auto echo = wire::IcmpView::parse(side.family, datagram.data);
  if (!echo || !echo->is_echo_reply()) return;
  auto it = side.by_sequence.find(echo->sequence());
  if (it == side.by_sequence.end() || it->second->remote != datagram.peer.address) return;
  it->second->record.rx_bytes = echo->payload().size();
  Request request = *it->second;
  side.forget(it->second, "it was answered");

  wire::IcmpEcho reply{.kind = wire::EchoKind::reply,
                       .identifier = request.identifier,
                       .sequence = request.sequence,
                       .data = echo->payload()};
  wire::IpHeader header;
  header.source = request.remote;
  header.destination = request.guest;
  header.protocol = side.family == Family::v4 ? wire::IpProtocol::icmp : wire::IpProtocol::icmpv6;
  header.ttl = datagram.ttl > 1 ? static_cast<std::uint8_t>(datagram.ttl - 1) : kUsualTtl;
  header.payload_size = reply.size();
  std::vector<std::uint8_t> packet(header.size() + reply.size());
  std::size_t size = header.emit(packet);
  if (size == 0 || reply.emit(Bytes(packet).subspan(size), request.remote, request.guest) == 0) {
    return;
  }
  ++counters_.replies;
  output_.send_packet(packet);
}

void IcmpRelay::on_queued_error(Side& side, const SocketError& error) {
  auto quoted = wire::IcmpView::parse(side.family, error.payload);
  if (!quoted) return;
  auto it = side.by_sequence.find(quoted->sequence());
  if (it == side.by_sequence.end()) return;
  const Request& request = *it->second;
  wire::IcmpError kind = icmp_for(error, side.family).value_or(wire::IcmpError::host_unreachable);
  // The guest's request again, as it sent it.
  wire::IcmpEcho echo{.kind = wire::EchoKind::request,
                      .identifier = request.identifier,
                      .sequence = request.sequence,
                      .data = quoted->payload()};
  wire::IpHeader header;
  header.source = request.guest;
  header.destination = request.remote;
  header.protocol = side.family == Family::v4 ? wire::IpProtocol::icmp : wire::IpProtocol::icmpv6;
  header.payload_size = echo.size();
  std::vector<std::uint8_t> original(header.size() + echo.size());
  std::size_t size = header.emit(original);
  if (size == 0 || echo.emit(Bytes(original).subspan(size), request.guest, request.remote) == 0) {
    return;
  }
  ++counters_.errors;
  answers_.pass_on(error, request.guest, original, kind);
  side.forget(it->second, "an error came back");
}

void IcmpRelay::expire() {
  bool left = false;
  for (auto& side : sides_) {
    while (!side->requests.empty() &&
           loop_.now() - side->requests.front().record.opened >= limits_.timeout) {
      side->forget(side->requests.begin(), "nothing came back");
    }
    left |= !side->requests.empty();
  }
  if (left) timer_->start(std::chrono::seconds(1));
}

FlowSight IcmpRelay::sight(const Request& request) {
  return {.record = request.record,
          .protocol = Protocol::icmp,
          .direction = Direction::egress,
          .state = FlowState::unanswered,
          .guest = {request.guest, Port()},
          .remote = {request.remote, Port()},
          .last = request.record.opened,
          .name = nullptr};
}

void IcmpRelay::each_flow(const FlowVisitor& visit) const {
  for (const auto& side : sides_) {
    for (const Request& request : side->requests) visit(sight(request));
  }
}

bool IcmpRelay::reset_flow(FlowId id) {
  for (auto& side : sides_) {
    auto it = std::find_if(side->requests.begin(), side->requests.end(),
                           [&](const Request& request) { return request.record.grant.id == id; });
    if (it == side->requests.end()) continue;
    side->forget(it, "the operator ended it");
    return true;
  }
  return false;
}

IcmpCounters IcmpRelay::counters() const {
  IcmpCounters counters = counters_;
  for (const auto& side : sides_) counters.pending += side->requests.size();
  return counters;
}

}  // namespace sluice::flow
