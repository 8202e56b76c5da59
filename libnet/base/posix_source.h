#pragma once

#include <cstdint>

#include <net/status.h>

#include "base/host_net.h"
#include "base/poller.h"
#include "base/unique_fd.h"

namespace sluice {

/// One descriptor in a Poller, edge-triggered, owned. Remembers readiness for which there was no
/// handler.
class PosixSource final : private PollTarget {
 public:
  PosixSource(Poller& poller, UniqueFd fd) : poller_(poller), fd_(std::move(fd)) {}
  PosixSource(const PosixSource&) = delete;
  PosixSource& operator=(const PosixSource&) = delete;
  ~PosixSource();

  int fd() const { return fd_.get(); }
  /// Begins to report readiness, first what is already there. `events` as for epoll, EPOLLET
  /// excepted.
  Status start(std::uint32_t events);
  void set_handler(SocketHandler* handler);
  /// Reports once when the descriptor, started without EPOLLOUT, has room again: a datagram socket
  /// would else report it each time that the kernel is done with a datagram.
  void await_room();
  /// Reports `ready` in a later turn, as if the kernel had.
  void report_later(SocketReady ready);
  /// The peer will send no more, there is an error, or was an urgent byte: the next receive must be
  /// made to see it.
  bool stops_early() const { return stops_early_; }

 private:
  void on_events(std::uint32_t events) override;
  std::uint32_t wanted() const;
  void report(SocketReady ready);
  void report_missed_later();

  Poller& poller_;
  UniqueFd fd_;
  Poller::Key key_ = 0;
  std::uint32_t events_ = 0;
  SocketHandler* handler_ = nullptr;
  SocketReady missed_;
  bool stops_early_ = false;
  bool report_due_ = false;
  bool awaits_room_ = false;
};

}  // namespace sluice
