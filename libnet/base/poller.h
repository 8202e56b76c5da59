#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include <net/status.h>

#include "base/unique_fd.h"

namespace sluice {

class Loop;

/// What is told of the events of a descriptor in a Poller.
class PollTarget {
 public:
  /// `events` as epoll gives them. May end any registration, its own too.
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~PollTarget() = default;
};

/// The epoll set of a Loop: all that it waits for.
///
/// A callback may end any registration while a batch of events is being delivered. So an event
/// names a slot and the slot's generation, never an object: an event of a descriptor that is gone,
/// or of a slot that has a new owner, is dropped.
class Poller {
 public:
  /// What epoll and deferred tasks hold instead of a pointer: generation << 32 | index; 0 is none.
  using Key = std::uint64_t;

  explicit Poller(Loop& loop) : loop_(loop) {}
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// exhausted: out of descriptors or memory.
  Status open();
  Loop& loop() { return loop_; }

  /// 0 if the kernel refuses, which errno tells. `events` as for epoll.
  Key add(int fd, std::uint32_t events, PollTarget* target);
  void change(Key key, int fd, std::uint32_t events);
  /// Before the descriptor is closed.
  void remove(Key key, int fd);
  /// nullptr if it was removed.
  PollTarget* find(Key key) const;
  /// Waits so many milliseconds at most (-1: without end) for something to be ready.
  void wait(int timeout_ms);
  /// Delivers what wait() found. Apart from it, so that the clock can be read first: what is
  /// called starts timers.
  void deliver();

 private:
  struct Slot {
    PollTarget* target = nullptr;
    std::uint32_t generation = 1;
  };

  /// Events taken in one turn; more wait for the next, so that timers and others get theirs.
  static constexpr int kBatch = 256;

  Loop& loop_;
  UniqueFd epoll_;
  std::array<epoll_event, kBatch> ready_;
  std::size_t ready_count_ = 0;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace sluice
