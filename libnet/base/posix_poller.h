#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <net/status.h>

#include "base/host_net.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice {

class PosixSource;

/// The epoll set of all sockets of a PosixNet: edge-triggered, one descriptor of the Loop.
///
/// A callback may destroy any socket while a batch of events is being delivered. So an event names
/// a slot and the slot's generation, never an object: an event of a socket that is gone, or of a
/// slot that has a new owner, is dropped.
class PosixPoller {
 public:
  explicit PosixPoller(Loop& loop) : loop_(loop) {}
  PosixPoller(const PosixPoller&) = delete;
  PosixPoller& operator=(const PosixPoller&) = delete;

  Status open();
  Loop& loop() { return loop_; }

 private:
  friend class PosixSource;

  struct Slot {
    PosixSource* source = nullptr;
    std::uint32_t generation = 1;
  };
  /// What epoll and deferred tasks hold instead of a pointer: generation << 32 | index; 0 is none.
  using Key = std::uint64_t;

  Key add(PosixSource* source);
  void remove(Key key);
  PosixSource* find(Key key) const;
  void deliver_batch();

  Loop& loop_;
  UniqueFd epoll_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::unique_ptr<FdWatch> watch_;  // Last: its end comes before the descriptor's.
};

/// One registered descriptor, owned. Remembers readiness for which there was no handler.
class PosixSource {
 public:
  PosixSource(PosixPoller& poller, UniqueFd fd) : poller_(poller), fd_(std::move(fd)) {}
  PosixSource(const PosixSource&) = delete;
  PosixSource& operator=(const PosixSource&) = delete;
  ~PosixSource();

  int fd() const { return fd_.get(); }
  /// Begins to report readiness, first what is already there. `events` as for epoll, EPOLLET
  /// excepted.
  Status start(std::uint32_t events);
  void set_handler(SocketHandler* handler);
  /// Reports `ready` in a later turn, as if the kernel had.
  void report_later(SocketReady ready);
  /// The peer will send no more, there is an error, or was an urgent byte: the next receive must be
  /// made to see it.
  bool stops_early() const { return stops_early_; }

 private:
  friend class PosixPoller;
  void on_events(std::uint32_t events);
  void report(SocketReady ready);
  void report_missed_later();

  PosixPoller& poller_;
  UniqueFd fd_;
  PosixPoller::Key key_ = 0;
  SocketHandler* handler_ = nullptr;
  SocketReady missed_;
  bool stops_early_ = false;
  bool report_due_ = false;
};

}  // namespace sluice
