#include "flow/tcp_flow.h"

#include "flow/tcp_relay.h"

namespace sluice::flow {

// Idle flows are many: docs/performance.md.
#if defined(__GLIBCXX__) && !defined(_GLIBCXX_DEBUG) && __SIZEOF_POINTER__ == 8
static_assert(sizeof(TcpFlow) <= 184);
#endif

constinit const TcpFlow::Extra TcpFlow::kNoExtra{};

void TcpFlow::on_socket_ready(SocketReady ready) {
  host_readable_ |= ready.readable || ready.error;
  host_writable_ |= ready.writable || ready.error;
  host_error_ |= ready.error;
  relay_.work_.add(*this);
}

void TcpFlow::on_endpoint_changed() {
  relay_.work_.add(*this);
}

std::span<const DomainName> TcpFlow::names() const {
  return inspection_ ? inspection_->flight().names() : extra().names;
}

FlowState TcpFlow::state() const {
  if (resting_) return FlowState::time_wait;
  if (!endpoint_ || (!endpoint_->established() && !denied_)) return FlowState::connecting;
  if (denied_ || host_error_ || host_eof_ || host_shut_ || endpoint_->fin_received() ||
      endpoint_->closed() != stack::CloseReason::none) {
    return FlowState::closing;
  }
  bool is_held = search() || (inspection_ && inspection_->flight().is_waiting());
  return is_held ? FlowState::inspecting : FlowState::open;
}

FlowSight TcpFlow::sight() const {
  return {.record = record_,
          .protocol = Protocol::tcp,
          .direction = inbound_ ? Direction::ingress : Direction::egress,
          .state = state(),
          .guest = key_.guest,
          .remote = extra().client.value_or(key_.remote),
          .last = last_activity_,
          .name = names().empty() ? nullptr : &names().back()};
}

}  // namespace sluice::flow
