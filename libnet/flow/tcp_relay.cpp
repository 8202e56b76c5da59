#include "flow/tcp_relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.h"
#include "base/pieces.h"
#include "wire/tcp.h"

namespace sluice::flow {

namespace {

/// Pieces of guest data per send() call.
constexpr std::size_t kMaxPieces = 64;
/// A read that fills so much room is one of many.
constexpr std::size_t kBulk = 32 << 10;
/// Segments that wait for the host: of tiny ones each costs more than it holds.
constexpr std::size_t kMaxWaiting = 1024;

// Why flows end.
constexpr std::string_view kBothClosed = "both ends closed it";
constexpr std::string_view kRemoteReset = "the remote end reset it";
constexpr std::string_view kDenied = "its first bytes were refused";

}  // namespace

TcpRelay::TcpRelay(Loop& loop, HostNet& host, stack::TcpEngine& engine, Gate& gate,
                   IcmpAnswers& icmp, const TcpLimits& limits)
    : loop_(loop), host_net_(host), engine_(engine), gate_(gate), icmp_(icmp), limits_(limits) {}

TcpRelay::~TcpRelay() {
  joiner_.clear();
  flows_.clear();
}

TcpFlow* TcpRelay::find(const FlowKey& key) {
  auto it = flows_.find(key);
  return it == flows_.end() || (*it)->retired() ? nullptr : it->get();
}

void TcpRelay::input(TcpInput input) {
  TcpFlow* flow = find(input.key);
  auto view = wire::TcpView::parse(input.packet.subspan(input.tcp_at));
  if (!view) return;
  wire::TcpFlags flags = view->flags();
  if (flow && flags.is_open() && flow->endpoint_ && flow->endpoint_->in_time_wait()) {
    // RFC 9293 3.6.1: on this link nothing arrives late, so the addresses may be used at once.
    flush_joined();
    kill(*flow, kBothClosed);
    work_.sweep();
    flow = nullptr;
  }
  if (!flow) {
    if (flags.is_open()) {
      begin_outbound(input);
    } else {
      std::size_t payload = view->payload().size();
      iovec piece{};
      engine_.refuse(input.key.guest, input.key.remote,
                     {.header = input.packet.subspan(input.tcp_at, input.header_size),
                      .payload = {&piece, 0},
                      .buffers = {},
                      .payload_size = payload});
    }
    return;
  }
  if (flow->held_) {
    if (flags.rst()) {
      // At once: the next packet of this batch may be a SYN with the same addresses.
      kill(*flow, "the guest gave up");
      work_.sweep();
    } else if (flags.is_open()) {
      // The guest's latest attempt is the one to answer.
      await_syn(*flow);
      flow->held_->packet.assign(
          input.packet.begin(),
          input.packet.begin() + static_cast<std::ptrdiff_t>(input.tcp_at + input.header_size));
      flow->held_->tcp_at = input.tcp_at;
    }
    return;
  }
  deliver(*flow, input);
}

void TcpRelay::deliver(TcpFlow& flow, TcpInput& input) {
  std::size_t payload_at = input.tcp_at + input.header_size;
  bool plain =
      SegmentJoiner::is_plain(input.packet[input.tcp_at + 13], input.packet.size() - payload_at);
  // What is judged must be what is sent, and not change in between. See join().
  if (!plain || flow.inspection_) input.complete();
  SegmentJoiner::Segment segment{
      .frame = input.frame,
      .header = input.packet.subspan(input.tcp_at, input.header_size),
      .payload = input.packet.first(input.packet.size() - input.lent.size).subspan(payload_at),
      .buffer = input.buffer,
      .lent = input.lent};
  if (joined_flow_) {
    if (joined_flow_ == &flow && plain && joiner_.add(segment)) return;
    flush_joined();
  }
  flow.last_activity_ = loop_.now();
  if (plain) {
    joined_flow_ = &flow;
    joiner_.begin(segment);
    return;
  }
  iovec piece{segment.payload.data(), segment.payload.size()};
  bool some = !segment.payload.empty();
  flow.endpoint_->input({.header = segment.header,
                         .payload = {&piece, some ? 1u : 0u},
                         .buffers = {&segment.buffer, 1},
                         .payload_size = segment.payload.size()});
  work_.add(flow);
}

void TcpRelay::flush_joined() {
  TcpFlow* flow = std::exchange(joined_flow_, nullptr);
  if (!flow) return;
  if (!flow->retired() && flow->endpoint_) {
    flow->endpoint_->input(joiner_.segment());
    work_.add(*flow);
  }
  joiner_.clear();
}

Status TcpRelay::open_inbound(std::unique_ptr<StreamSocket> client, TcpInbound inbound) {
  FlowKey key{inbound.guest, inbound.source};
  auto fail = [&](StatusCode code, std::string_view why) {
    client->reset_on_close();
    return Status(code, std::string(why));
  };
  if (TcpFlow* old = find(key)) {
    if (!old->endpoint_ || !old->endpoint_->in_time_wait()) {
      return fail(StatusCode::already_exists, "the guest has a flow with this address and port");
    }
    kill(*old, kBothClosed);
    work_.sweep();
  }
  if (!make_room()) {
    ++counters_.limit_flows;
    report_limit("the most flows");
    return fail(StatusCode::exhausted, "too many flows");
  }
  auto owned = std::make_unique<TcpFlow>(*this, key);
  TcpFlow& flow = *owned;
  flow.endpoint_ = engine_.connect(inbound.guest, inbound.source, flow);
  if (!flow.endpoint_) {
    ++counters_.limit_memory;
    report_limit("the memory budget");
    return fail(StatusCode::exhausted, "no memory for the connection");
  }
  flow.inbound_ = true;
  flow.record_ = {.grant = std::move(inbound.grant), .opened = loop_.now()};
  TcpFlow::Extra& extra = flow.make_extra();
  extra.client = inbound.client;
  extra.preface.assign(inbound.preface.begin(), inbound.preface.end());
  flow.hold_ = std::move(inbound.hold);
  flow.last_activity_ = loop_.now();
  flow.host_ = std::move(client);
  flow.host_connected_ = true;
  flow.host_writable_ = true;
  flow.host_->set_handler(&flow);
  flows_.insert(std::move(owned));
  set_deadline(flow, inbound.handshake.value_or(limits_.inbound_handshake));
  ++counters_.opened;
  work_.add(flow);
  return Status::ok();
}

void TcpRelay::report_limit(std::string_view limit) {
  constexpr auto kInterval = std::chrono::minutes(1);
  if (limit_reported_ != TimePoint() && loop_.now() - limit_reported_ < kInterval) return;
  limit_reported_ = loop_.now();
  log(LogLevel::warn, "tcp: {} is reached ({} flows); connections are refused", limit,
      flows_.size());
}

void TcpRelay::set_deadline(TcpFlow& flow, Duration delay) {
  flow.timed_ = true;
  timed_[&flow] = loop_.now() + delay;
}

void TcpRelay::clear_deadline(TcpFlow& flow) {
  if (flow.timed_) timed_.erase(&flow);
  flow.timed_ = false;
}

void TcpRelay::run() {
  flush_joined();
  work_.run([this](TcpFlow& flow) { service(flow); });
}

void TcpRelay::service(TcpFlow& flow) {
  if (flow.held_) {
    if (flow.host_readable_ || flow.host_writable_) {
      // Readable stays: a server that speaks first may have done so, and that is told only once.
      flow.host_writable_ = false;
      on_dial_ready(flow);
      if (flow.retired() || flow.held_) return;
    } else {
      return;
    }
  }
  if (flow.search()) on_server_ready(flow);
  stack::TcpEndpoint& endpoint = *flow.endpoint_;
  bool is_awaited = flow.search() || (flow.inspection_ && flow.inspection_->flight().is_waiting());
  if (endpoint.established() && !flow.host_error_ && !flow.denied_ && !is_awaited) {
    clear_deadline(flow);
  }
  if (endpoint.closed() == stack::CloseReason::reset ||
      endpoint.closed() == stack::CloseReason::timed_out) {
    bool is_reset = endpoint.closed() == stack::CloseReason::reset;
    reset(flow, is_reset ? "the guest reset it" : "the guest answers no more");
    return;
  }
  const auto& preface = flow.extra().preface;
  if (endpoint.established() && !preface.empty() && endpoint.send_space() >= preface.size()) {
    endpoint.write(BufferRef(), preface);
    std::vector<std::uint8_t>().swap(flow.make_extra().preface);
  }

  if (!discard_unread(flow)) return reset(flow, kRemoteReset);
  if (flow.inspection_) inspect(flow);
  bool more = guest_to_host(flow);
  // Until its server is chosen, what the present one says and does may mean nothing.
  bool is_choosing = flow.is_choosing_server();
  bool is_preface_due = !flow.extra().preface.empty();
  if (endpoint.established() && !is_preface_due && !is_choosing) more |= host_to_guest(flow);
  if (flow.host_error_ && !is_choosing && endpoint.closed() == stack::CloseReason::none) {
    if (flow.host_eof_ && endpoint.all_acknowledged()) {
      kill(flow, kRemoteReset);
      return;
    }
    // What the host sent before may not even be read yet, where the guest takes nothing.
    if (!flow.timed_) set_deadline(flow, limits_.drain);
  }
  endpoint.finish_batch();

  if (endpoint.in_time_wait() && !flow.resting_) {
    flow.resting_ = true;
    resting_.push_back(flow.key_);
    report_end(flow, flow.denied_ ? kDenied : kBothClosed);
  }
  if (flow.host_ && flow.host_shut_ && flow.host_eof_ && !flow.unread()) flow.host_.reset();
  bool delivered = flow.host_shut_ || flow.host_deaf_ || !flow.host_;
  if (endpoint.closed() == stack::CloseReason::aborted ||
      (endpoint.closed() != stack::CloseReason::none && delivered)) {
    kill(flow, flow.denied_ ? kDenied : flow.host_error_ ? kRemoteReset : kBothClosed);
    return;
  }
  if (more) work_.add(flow);
}

bool TcpRelay::guest_to_host(TcpFlow& flow) {
  stack::TcpEndpoint& endpoint = *flow.endpoint_;
  if (flow.denied_) endpoint.consume(endpoint.received());
  if (!flow.host_) return false;
  std::size_t budget = kTurnBytes;
  while (endpoint.received() > 0 && (flow.host_writable_ || flow.host_deaf_)) {
    if (flow.host_deaf_) {
      endpoint.consume(endpoint.received());
      flow.inspection_.reset();
      break;
    }
    if (budget == 0) return true;
    std::array<iovec, kMaxPieces> pieces;
    std::size_t count = endpoint.peek(pieces);
    if (flow.inspection_) {
      count = limit_pieces(std::span(pieces).first(count), flow.inspection_->releasable());
      if (count == 0) break;
    }
    IoResult result = flow.host_->send(std::span(pieces).first(count));
    if (result.would_block()) {
      flow.host_writable_ = false;
      endpoint.compact_received();
      break;
    }
    if (!result.ok()) {
      // What the host sent before may still be there to be read.
      flow.host_deaf_ = flow.host_error_ = true;
      flow.host_readable_ = true;
      continue;
    }
    endpoint.consume(result.bytes);
    if (flow.inspection_) flow.inspection_->pass(result.bytes);
    counters_.bytes_to_host += result.bytes;
    flow.record_.tx_bytes += result.bytes;
    flow.last_activity_ = loop_.now();
    budget -= std::min(budget, result.bytes);
    if (result.drained) flow.host_writable_ = false;
  }
  endpoint.merge_received(kMaxWaiting);
  if (endpoint.fin_received() && endpoint.received() == 0 && !flow.host_shut_) {
    flow.host_shut_ = true;
    if (!flow.host_deaf_) flow.host_->shutdown_send();
  }
  return false;
}

bool TcpRelay::host_to_guest(TcpFlow& flow) {
  stack::TcpEndpoint& endpoint = *flow.endpoint_;
  std::size_t budget = flow.unread() ? kUnreadTurnBytes : kTurnBytes;
  while (flow.host_ && flow.host_readable_ && !flow.host_eof_) {
    UnreadStream* unread = flow.unread();
    std::size_t room = unread ? endpoint.unread_space() : endpoint.send_space();
    std::size_t space = endpoint.whole_segments(std::min(room, budget));
    if (space == 0) return endpoint.whole_segments(room) > 0;
    IoResult result = unread ? unread->look(space) : flow.host_->receive(read_buffer_.space(space));
    if (result.would_block()) {
      flow.host_readable_ = false;
      break;
    }
    if (!result.ok() || result.bytes == 0) {
      flow.host_eof_ = true;
      flow.host_error_ |= !result.ok();
      if (!flow.host_error_) endpoint.shutdown_send();
      if (flow.inspection_) work_.add(flow);
      break;
    }
    if (flow.inspection_) {
      std::size_t shown = std::min(result.bytes, ReadBuffer::kCopyBytes);
      flow.inspection_->flight().server_spoke(read_buffer_.peek(shown), result.bytes - shown);
      // It may be what the guest's next bytes waited for.
      work_.add(flow);
    }
    bool is_written = unread ? endpoint.write_unread(*unread, unread->show(result.bytes),
                                                     result.bytes) == result.bytes
                             : write_to_guest(endpoint, result.bytes);
    if (!is_written) {
      // There is no memory. What was read is lost: the stream must not go on.
      endpoint.abort();
      flow.host_->reset_on_close();
      flow.host_eof_ = true;
      break;
    }
    counters_.bytes_to_guest += result.bytes;
    flow.record_.rx_bytes += result.bytes;
    flow.last_activity_ = loop_.now();
    budget -= std::min(budget, result.bytes);
    if (result.drained) flow.host_readable_ = false;
    // It filled what it was given: there is more.
    if (!unread && result.bytes >= kBulk && result.bytes == space) leave_unread(flow);
  }
  return false;
}

void TcpRelay::leave_unread(TcpFlow& flow) {
  if (flow.inspection_ || !engine_.takes_unread() || !flow.host_->can_peek()) return;
  // A frame of an earlier one may still be out: it must not find its positions here.
  std::uint64_t begin = ++unread_streams_ << 40;
  flow.make_extra().unread = std::make_unique<UnreadStream>(*flow.host_, begin);
}

bool TcpRelay::discard_unread(TcpFlow& flow) {
  UnreadStream* unread = flow.unread();
  if (!unread) return true;
  if (std::size_t bytes = flow.endpoint_->take_let_go(); bytes > 0 && !unread->discard(bytes)) {
    return false;
  }
  if (unread->empty() && (!flow.host_readable_ || flow.host_eof_)) flow.make_extra().unread.reset();
  return true;
}

bool TcpRelay::write_to_guest(stack::TcpEndpoint& endpoint, std::size_t bytes) {
  if (bytes <= ReadBuffer::kCopyBytes) {
    return endpoint.write(BufferRef(), read_buffer_.peek(bytes)) == bytes;
  }
  for (const ReadBuffer::Piece& piece : read_buffer_.take(bytes)) {
    if (endpoint.write(piece.buffer, piece.bytes) != piece.bytes.size()) return false;
  }
  return true;
}

void TcpRelay::forget_rested() {
  while (!resting_.empty()) {
    TcpFlow* flow = find(resting_.front());
    if (flow && flow->resting_) return;
    resting_.pop_front();
  }
}

void TcpRelay::each_flow(const FlowVisitor& visit) const {
  for (const auto& flow : flows_) {
    if (!flow->retired()) visit(flow->sight());
  }
}

bool TcpRelay::reset_flow(FlowId id) {
  bool found = false;
  reset_if("the operator ended it", [&](TcpFlow& flow) {
    if (flow.record_.grant.id != id) return false;
    if (flow.held_) refuse_syn(flow);
    return found = true;
  });
  return found;
}

bool TcpRelay::make_room() {
  if (flows_.size() < limits_.flows) return true;
  // A connection that is over gives way: TIME_WAIT is for networks on which segments arrive late.
  forget_rested();
  if (resting_.empty()) return false;
  kill(*find(resting_.front()), kBothClosed);
  work_.sweep();
  return flows_.size() < limits_.flows;
}

void TcpRelay::report_end(TcpFlow& flow, std::string_view reason) {
  if (flow.reported_) return;
  flow.reported_ = true;
  gate_.on_flow_closed(flow.sight(), reason);
}

void TcpRelay::kill(TcpFlow& flow, std::string_view reason) {
  if (!work_.retire(flow)) return;
  // A socket that closes with bytes unread resets its peer.
  if (flow.endpoint_) discard_unread(flow);
  report_end(flow, reason);
  release_held(flow);
  end_search(flow);
  clear_deadline(flow);
}

void TcpRelay::reset(TcpFlow& flow, std::string_view reason) {
  if (flow.host_) flow.host_->reset_on_close();
  kill(flow, reason);
}

template <typename Condition>
void TcpRelay::reset_if(std::string_view reason, Condition condition) {
  for (const auto& flow : flows_) {
    if (!flow->retired() && condition(*flow)) reset(*flow, reason);
  }
  work_.sweep();
}

void TcpRelay::forget(TcpFlow& flow) {
  if (joined_flow_ == &flow) flush_joined();
  flows_.erase(flows_.find(flow.key_));
}

void TcpRelay::tick() {
  ++ticks_;
  TimePoint now = loop_.now();
  std::vector<TcpFlow*> late;
  for (auto [flow, deadline] : timed_) {
    if (now >= deadline) late.push_back(flow);
  }
  for (TcpFlow* flow : late) {
    if (flow->search()) {
      on_search_late(*flow);
    } else if (flow->inspection_ && flow->endpoint_ && !flow->host_error_) {
      flow->inspection_->flight().give_up("it took too long");
      finish_inspection(*flow);
      if (!flow->denied_ && flow->timed_) timed_[flow] = TimePoint::max();
      work_.add(*flow);
    } else {
      reset(*flow, flow->host_error_ ? kRemoteReset
                   : flow->denied_   ? kDenied
                   : flow->held_     ? "the guest gave up"
                                     : "the guest did not answer");
    }
  }
  work_.sweep();
  forget_rested();
  constexpr std::uint32_t kIdleScan = 40;  // every 10 s
  if (limits_.idle > Duration::zero() && ticks_ % kIdleScan == 0) {
    reset_if("nothing moved for too long",
             [&](TcpFlow& flow) { return now - flow.last_activity_ >= limits_.idle; });
  }
}

void TcpRelay::reset_all() {
  reset_if("the guest is gone", [](TcpFlow&) { return true; });
}

void TcpRelay::reset_inbound(const std::shared_ptr<const void>& hold) {
  reset_if("its port was withdrawn", [&](TcpFlow& flow) { return flow.hold_ == hold; });
}

void TcpRelay::judge_again(RevokedFlows revoked) {
  reset_if(kRevoked, [&](TcpFlow& flow) {
    bool is_kept = revoked == RevokedFlows::keep && flow.was_answered();
    if (is_kept || is_allowed_still(flow)) return false;
    if (flow.held_) refuse_syn(flow);
    return true;
  });
}

bool TcpRelay::is_allowed_still(TcpFlow& flow) {
  FlowId id = flow.record_.grant.id;
  Grant grant;
  if (flow.inbound_) {
    grant = gate_.allow_ingress(Protocol::tcp, flow.extra().client, flow.key_.guest, id);
    if (!grant) return false;
  } else {
    TcpRoute route = gate_.route_tcp(flow.key_.guest, flow.key_.remote, id);
    grant = std::move(route.grant);
    if (route.is_refusal() || !may_stay(flow, std::move(route))) return false;
  }
  flow.record_.grant = std::move(grant);
  return true;
}

bool TcpRelay::may_stay(TcpFlow& flow, TcpRoute route) {
  if (!route.first_flight) return true;
  const std::optional<Endpoint>& moved_to = flow.extra().moved_to;
  auto is_allowed = [&](const DomainName& name) {
    return gate_.allow_named(Protocol::tcp, flow.key_.guest, flow.key_.remote, name,
                             flow.record_.grant.id) &&
           (!moved_to || gate_.allow_named(Protocol::tcp, flow.key_.guest, *moved_to, name,
                                           flow.record_.grant.id));
  };
  if (flow.search() && !is_allowed(flow.search()->name)) return false;
  if (!flow.names().empty()) return std::ranges::all_of(flow.names(), is_allowed);
  if (flow.inspection_ || flow.was_read_) return true;
  if (flow.held_) {
    flow.inspection_ = std::make_unique<Inspection>(std::move(route.first_flight));
    return true;
  }
  return gate_.allow_unread(Protocol::tcp, flow.key_.guest, flow.key_.remote,
                            flow.record_.grant.id);
}

TcpCounters TcpRelay::counters() const {
  TcpCounters counters = counters_;
  counters.flows = flows_.size();
  counters.held_syns = held_.size();
  return counters;
}

}  // namespace sluice::flow
