// What the guest says first on a connection: the part of TcpRelay that holds and judges it.

#include "flow/tcp_relay.h"

namespace sluice::flow {

void TcpRelay::inspect(TcpFlow& flow) {
  if (flow.search()) return;
  policy::FirstFlight& flight = flow.inspection_->flight();
  flow.inspection_->look(*flow.endpoint_);
  if (flight.unconfirmed()) {
    seek_server(flow);
    return;
  }
  // What could let it go does not come any more.
  if (flow.host_eof_ && flight.awaits_server()) flow.host_deaf_ = true;
  if (flow.endpoint_->fin_received()) flight.give_up("it ended in the midst of its first flight");
  finish_inspection(flow);
  if (flow.inspection_ && flight.is_waiting() && !flow.timed_) {
    set_deadline(flow, std::chrono::seconds(policy::FirstFlight::kPatienceSeconds));
  }
}

void TcpRelay::finish_inspection(TcpFlow& flow) {
  if (flow.inspection_->is_denied()) {
    deny_first_flight(flow);
  } else if (flow.inspection_->is_open()) {
    auto names = flow.names();
    if (!names.empty()) flow.make_extra().names.assign(names.begin(), names.end());
    flow.was_read_ = true;
    flow.inspection_.reset();
  }
}

void TcpRelay::deny_first_flight(TcpFlow& flow) {
  ++counters_.refused_by_name;
  policy::FirstFlight& flight = flow.inspection_->flight();
  gate_.on_first_flight_denied(Protocol::tcp, flow.key_.guest, flow.key_.remote, flight.denial(),
                               flow.record_.grant.id);
  stack::TcpEndpoint& endpoint = *flow.endpoint_;
  const auto& reply = flight.reply();
  bool is_told = !reply.empty() && endpoint.send_space() >= reply.size() && !endpoint.send_shut() &&
                 endpoint.write(BufferRef(), reply) == reply.size();
  if (is_told) {
    endpoint.shutdown_send();
    set_deadline(flow, limits_.drain);
  } else {
    endpoint.abort();
  }
  if (flow.host_) flow.host_->reset_on_close();
  flow.host_.reset();
  flow.inspection_.reset();
  flow.denied_ = true;
}

}  // namespace sluice::flow
