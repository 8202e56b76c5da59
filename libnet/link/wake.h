#pragma once

#include <atomic>
#include <cstdint>

#include <net/ring.h>
#include <net/status.h>

#include "base/unique_fd.h"

namespace sluice::link {

/// A descriptor that becomes readable when another thread rings. Any number of rings before a
/// clear() count as one.
class Doorbell {
 public:
  /// `kind` pipe is what is used where there is no eventfd. exhausted: out of descriptors.
  static Result<Doorbell> create(WakeKind kind);

  /// To wait for, readable.
  int fd() const { return read_.get(); }
  /// Any thread. One system call.
  void ring();
  /// The waiting thread, once fd() is readable.
  void clear();

 private:
  UniqueFd read_;
  UniqueFd write_;  ///< The pipe's other end; nothing for an eventfd.
};

/// Says whether one thread (the waiter) sleeps until another (the notifier) has done something, so
/// that the notifier makes a system call only if that is so. Beside it there is a queue, or any
/// state that the notifier changes and the waiter looks at.
///
///     waiter:   look; nothing there: arm(); look again; something: disarm() and take it;
///               nothing: sleep on a Doorbell; awake: clear it, disarm(), look.
///     notifier: change (release store); if (take()) ring.
///
/// No wake is lost. All three operations are read-modify-writes on one variable, hence totally
/// ordered, each reading the value of the one before it, with acquire and release. Take the
/// notifier's take() that follows a change, and the waiter's arm() before its second look:
/// - take() comes before arm(): arm(), or an operation between them, reads what take() wrote, and
///   through that chain of read-modify-writes the change happened before the second look, which
///   sees it.
/// - take() comes after arm(): the first take() after it reads "armed" and rings, unless the waiter
///   disarmed between them: then it is awake and looks again, and the first case holds for the
///   arm() that must come before it sleeps.
/// A seq_cst fence on both sides (store; fence; load) would do as well and costs the same on x86;
/// this needs no order between different variables, and ThreadSanitizer can follow it.
/// One arm() makes at most one ring. A ring for a waiter that has just woken by itself is possible
/// and harmless.
class ArmFlag {
 public:
  /// Waiter.
  void arm() { armed_.exchange(1, std::memory_order_acq_rel); }
  void disarm() { armed_.exchange(0, std::memory_order_acq_rel); }
  bool is_armed() const { return armed_.load(std::memory_order_acquire) != 0; }
  /// Notifier: true if it must ring.
  bool take() { return armed_.exchange(0, std::memory_order_acq_rel) != 0; }

 private:
  std::atomic<std::uint32_t> armed_{0};
};

}  // namespace sluice::link
