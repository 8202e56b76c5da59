#include "flow/inspection.h"

#include <array>

namespace sluice::flow {

void Inspection::look(stack::TcpEndpoint& endpoint) {
  using State = policy::FirstFlight::State;
  bool takes_more = true;
  while (takes_more && flight_->state() == State::reading) {
    auto seen = static_cast<std::size_t>(flight_->taken() - passed_);
    if (seen >= endpoint.received()) break;
    std::array<iovec, kMaxPieces> pieces;
    std::size_t count = endpoint.peek(pieces, seen);
    for (std::size_t i = 0; i < count && takes_more; ++i) {
      ConstBytes bytes(static_cast<const std::uint8_t*>(pieces[i].iov_base), pieces[i].iov_len);
      takes_more = flight_->feed(bytes) == bytes.size();
    }
  }
  if (flight_->state() == State::reading && releasable() == 0) {
    endpoint.merge_received(kMaxPieces);
  }
}

}  // namespace sluice::flow
