#pragma once

#include <cstdint>
#include <memory>

#include "policy/first_flight.h"
#include "stack/tcp_engine.h"

namespace sluice::flow {

/// Holds a connection's guest bytes in its receive queue until their first flight has been judged,
/// so that no byte is copied and the guest's window is what bounds them.
class Inspection {
 public:
  /// Received pieces beyond which what is held is put together: a guest that sends single bytes
  /// must not have each of them walked over again and again.
  static constexpr std::size_t kMaxPieces = 64;

  explicit Inspection(std::unique_ptr<policy::FirstFlight> flight) : flight_(std::move(flight)) {}

  /// Shows the flight what has come since the last look.
  void look(stack::TcpEndpoint& endpoint);
  /// Of the endpoint's received bytes, how many may go to the host now.
  std::size_t releasable() const { return static_cast<std::size_t>(flight_->released() - passed_); }
  /// So many went.
  void pass(std::size_t bytes) { passed_ += bytes; }

  policy::FirstFlight& flight() { return *flight_; }
  const policy::FirstFlight& flight() const { return *flight_; }
  bool is_open() const { return flight_->state() == policy::FirstFlight::State::open; }
  bool is_denied() const { return flight_->state() == policy::FirstFlight::State::denied; }

 private:
  std::unique_ptr<policy::FirstFlight> flight_;
  std::uint64_t passed_ = 0;
};

}  // namespace sluice::flow
