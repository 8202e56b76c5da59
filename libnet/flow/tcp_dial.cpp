// From a guest's SYN to the host's answer: the part of TcpRelay in which a flow is a held packet.

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "flow/tcp_relay.h"

namespace sluice::flow {

namespace {

/// A held SYN that is not repeated for this long, or longer where its repeats come slower.
constexpr auto kAbandonedSyn = std::chrono::seconds(7);

}  // namespace

void TcpRelay::begin_outbound(TcpInput& input) {
  auto refuse = [&] {
    engine_.refuse(input.key.guest, input.key.remote,
                   {.header = input.packet.subspan(input.tcp_at, input.header_size)});
  };
  // An ICMP error quotes it.
  input.complete();
  TcpRoute route = gate_.route_tcp(input.key.guest, input.key.remote, 0);
  if (route.is_refusal()) {
    if (route.kind != TcpRoute::Kind::unreachable) ++counters_.refused_by_policy;
    if (route.kind == TcpRoute::Kind::refuse) refuse();
    if (route.kind == TcpRoute::Kind::prohibit) {
      icmp_.send(input.key.guest.address, input.packet, wire::IcmpError::admin_prohibited);
    }
    if (route.kind == TcpRoute::Kind::unreachable) {
      icmp_.send(input.key.guest.address, input.packet, wire::IcmpError::host_unreachable);
    }
    return;
  }
  if (!make_room()) {
    ++counters_.limit_flows;
    report_limit("the most flows");
    refuse();
    return;
  }
  if (held_.size() >= limits_.held_syns) {
    ++counters_.limit_held;
    report_limit("the most connections whose host has not answered");
    TcpFlow& oldest = *held_.front();
    refuse_syn(oldest);
    kill(oldest, "the remote end took too long, and others wait");
    work_.sweep();
  }

  auto owned = std::make_unique<TcpFlow>(*this, input.key);
  TcpFlow& flow = *owned;
  flow.record_ = {.grant = std::move(route.grant), .opened = loop_.now()};
  flow.last_activity_ = loop_.now();
  flow.hold_ = std::move(route.hold);
  if (route.first_flight) {
    flow.inspection_ = std::make_unique<Inspection>(std::move(route.first_flight));
  }
  flow.held_ = std::make_unique<TcpFlow::Held>();
  flow.held_->packet.assign(
      input.packet.begin(),
      input.packet.begin() + static_cast<std::ptrdiff_t>(input.tcp_at + input.header_size));
  flow.held_->tcp_at = input.tcp_at;
  flow.held_->addresses = std::move(route.addresses);
  flow.held_->place = held_.insert(held_.end(), &flow);
  flow.held_->last_syn = loop_.now();
  flows_.insert(std::move(owned));
  await_syn(flow);

  if (route.kind == TcpRoute::Kind::session) {
    flow.host_ = std::move(route.session);
    flow.host_->set_handler(&flow);
    on_connected(flow);
  } else if (route.kind == TcpRoute::Kind::dial_unix) {
    auto socket = host_net_.dial_unix(route.path);
    if (!socket) {
      fail_dial(flow, ECONNREFUSED);
    } else {
      flow.host_ = std::move(*socket);
      flow.host_->set_handler(&flow);
    }
  } else {
    dial_next(flow);
  }
  work_.sweep();
}

void TcpRelay::dial_next(TcpFlow& flow) {
  TcpFlow::Held& held = *flow.held_;
  flow.host_.reset();
  flow.host_readable_ = flow.host_writable_ = flow.host_error_ = false;
  held.destination = held.addresses.front();
  held.addresses.erase(held.addresses.begin());
  if (!begin_dial(held.destination)) {
    refuse_syn(flow);
    kill(flow, kDestinationBusy);
    return;
  }
  held.counted = true;
  auto socket = host_net_.dial_tcp(held.destination);
  if (!socket) {
    ++counters_.dial_failed;
    log(LogLevel::warn, "tcp {}: {}", flow.key_.remote.to_string(), socket.status().message());
    refuse_syn(flow);
    kill(flow, "the host has no socket for it");
    return;
  }
  flow.host_ = std::move(*socket);
  flow.host_->set_handler(&flow);
}

void TcpRelay::on_dial_ready(TcpFlow& flow) {
  int error = flow.host_->connect_result();
  if (error == 0) {
    on_connected(flow);
    return;
  }
  if (error == EINPROGRESS || error == EALREADY) return;
  bool next = error == ECONNREFUSED || error == EADDRNOTAVAIL || error == ENETUNREACH;
  if (next && !flow.held_->addresses.empty()) {
    if (std::exchange(flow.held_->counted, false)) end_dial(flow.held_->destination);
    dial_next(flow);
    return;
  }
  fail_dial(flow, error);
}

void TcpRelay::on_connected(TcpFlow& flow) {
  flow.host_connected_ = true;
  flow.host_writable_ = true;
  ConstBytes syn = ConstBytes(flow.held_->packet).subspan(flow.held_->tcp_at);
  flow.endpoint_ = engine_.accept(flow.key_.guest, flow.key_.remote, syn, flow);
  if (!flow.endpoint_) {
    ++counters_.limit_memory;
    report_limit("the memory budget");
    refuse_syn(flow);
    flow.host_->reset_on_close();
    kill(flow, "the memory budget is used up");
    return;
  }
  ++counters_.opened;
  release_held(flow);
  work_.add(flow);
}

void TcpRelay::fail_dial(TcpFlow& flow, int error) {
  const std::string reason = Status::from_errno(error, "connect").message();
  log(LogLevel::debug, "tcp {} -> {}: {}", flow.key_.guest.to_string(),
      flow.key_.remote.to_string(), reason);
  if (error == ECONNREFUSED || error == ECONNRESET || error == ETIMEDOUT || error == ENOENT) {
    ++(error == ETIMEDOUT ? counters_.dial_timed_out : counters_.dial_refused);
    refuse_syn(flow);
  } else {
    ++counters_.dial_unreachable;
    icmp_.send(flow.key_.guest.address, flow.held_->packet,
               icmp_for(error).value_or(wire::IcmpError::host_unreachable));
  }
  kill(flow, reason);
}

void TcpRelay::release_held(TcpFlow& flow) {
  if (!flow.held_) return;
  clear_deadline(flow);
  if (flow.held_->counted) end_dial(flow.held_->destination);
  held_.erase(flow.held_->place);
  flow.held_.reset();
}

bool TcpRelay::begin_dial(const Endpoint& destination) {
  std::size_t& half_open = held_to_[destination];
  if (half_open >= limits_.held_per_destination) {
    ++counters_.limit_destination;
    report_limit("the most unanswered connections to one destination");
    return false;
  }
  ++half_open;
  return true;
}

void TcpRelay::end_dial(const Endpoint& destination) {
  auto it = held_to_.find(destination);
  if (it != held_to_.end() && --it->second == 0) held_to_.erase(it);
}

void TcpRelay::refuse_syn(const TcpFlow& flow) {
  Bytes packet(flow.held_->packet);
  engine_.refuse(flow.key_.guest, flow.key_.remote, {.header = packet.subspan(flow.held_->tcp_at)});
}

void TcpRelay::await_syn(TcpFlow& flow) {
  // A guest that still wants the connection repeats its SYN after 1 s or so, then twice as late
  // each time (RFC 6298 section 5.5). One that does not has given up, without a word.
  Duration gap = loop_.now() - flow.held_->last_syn;
  flow.held_->last_syn = loop_.now();
  set_deadline(flow, std::max<Duration>(kAbandonedSyn, gap * 5 / 2));
}

}  // namespace sluice::flow
