#include "base/posix_source.h"

#include <sys/epoll.h>

#include <cerrno>

#include "base/loop.h"

namespace sluice {

namespace {

bool any(const SocketReady& ready) {
  return ready.readable || ready.writable || ready.error;
}

}  // namespace

PosixSource::~PosixSource() {
  if (key_ != 0) poller_.remove(key_, fd());
}

std::uint32_t PosixSource::wanted() const {
  return events_ | EPOLLET | (awaits_room_ ? std::uint32_t{EPOLLOUT} : 0);
}

Status PosixSource::start(std::uint32_t events) {
  events_ = events;
  key_ = poller_.add(fd(), wanted(), this);
  return key_ != 0 ? Status::ok() : Status::from_errno(errno, "watch a socket");
}

void PosixSource::set_handler(SocketHandler* handler) {
  handler_ = handler;
  if (handler_ && any(missed_)) report_missed_later();
}

void PosixSource::await_room() {
  if (awaits_room_) return;
  awaits_room_ = true;
  poller_.change(key_, fd(), wanted());
}

void PosixSource::report_later(SocketReady ready) {
  missed_.readable |= ready.readable;
  missed_.writable |= ready.writable;
  missed_.error |= ready.error;
  report_missed_later();
}

void PosixSource::report_missed_later() {
  if (report_due_) return;
  report_due_ = true;
  poller_.loop().defer([&poller = poller_, key = key_] {
    auto* source = static_cast<PosixSource*>(poller.find(key));
    if (!source) return;
    source->report_due_ = false;
    source->report({});
  });
}

void PosixSource::on_events(std::uint32_t events) {
  if (awaits_room_ && (events & EPOLLOUT) != 0) {
    awaits_room_ = false;
    poller_.change(key_, fd(), wanted());
  }
  bool failed = (events & EPOLLERR) != 0, gone = (events & EPOLLHUP) != 0;
  stops_early_ |= failed || gone || (events & (EPOLLRDHUP | EPOLLPRI)) != 0;
  report({.readable = failed || gone || (events & (EPOLLIN | EPOLLRDHUP)) != 0,
          .writable = failed || gone || (events & EPOLLOUT) != 0,
          .error = failed});
}

void PosixSource::report(SocketReady ready) {
  ready.readable |= missed_.readable;
  ready.writable |= missed_.writable;
  ready.error |= missed_.error;
  if (!handler_) {
    missed_ = ready;
    return;
  }
  missed_ = {};
  // The handler may destroy this: nothing of it is touched afterwards.
  if (any(ready)) handler_->on_socket_ready(ready);
}

}  // namespace sluice
