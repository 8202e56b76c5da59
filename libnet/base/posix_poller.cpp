#include "base/posix_poller.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

namespace sluice {

namespace {

/// Events taken in one turn; more wait for the next, so that timers and others get theirs.
constexpr int kBatch = 256;

bool any(const SocketReady& ready) {
  return ready.readable || ready.writable || ready.error;
}

}  // namespace

Status PosixPoller::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return Status::from_errno(errno, "make an epoll set");
  watch_ = loop_.watch(epoll_.get(), {.readable = true}, [this](FdReady) { deliver_batch(); });
  if (!watch_) return Status(StatusCode::internal, "the loop can't watch an epoll set");
  return Status::ok();
}

PosixPoller::Key PosixPoller::add(PosixSource* source) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  std::uint32_t index = free_.back();
  free_.pop_back();
  slots_[index].source = source;
  return Key{slots_[index].generation} << 32 | index;
}

void PosixPoller::remove(Key key) {
  auto index = static_cast<std::uint32_t>(key);
  slots_[index].source = nullptr;
  ++slots_[index].generation;
  free_.push_back(index);
}

PosixSource* PosixPoller::find(Key key) const {
  const Slot& slot = slots_[static_cast<std::uint32_t>(key)];
  return slot.generation == key >> 32 ? slot.source : nullptr;
}

void PosixPoller::deliver_batch() {
  std::array<epoll_event, kBatch> events;
  int count = ::epoll_wait(epoll_.get(), events.data(), kBatch, 0);
  for (int i = 0; i < count; ++i) {
    if (PosixSource* source = find(events[static_cast<std::size_t>(i)].data.u64)) {
      source->on_events(events[static_cast<std::size_t>(i)].events);
    }
  }
}

PosixSource::~PosixSource() {
  if (key_ == 0) return;
  // Closing alone would leave the descriptor in the set if it has been duplicated (a fork).
  ::epoll_ctl(poller_.epoll_.get(), EPOLL_CTL_DEL, fd(), nullptr);
  poller_.remove(key_);
}

Status PosixSource::start(std::uint32_t events) {
  key_ = poller_.add(this);
  epoll_event event{};
  event.events = events | EPOLLET;
  event.data.u64 = key_;
  if (::epoll_ctl(poller_.epoll_.get(), EPOLL_CTL_ADD, fd(), &event) == 0) return Status::ok();
  int error = errno;
  poller_.remove(key_);
  key_ = 0;
  return Status::from_errno(error, "watch a socket");
}

void PosixSource::set_handler(SocketHandler* handler) {
  handler_ = handler;
  if (handler_ && any(missed_)) report_missed_later();
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
  poller_.loop_.defer([&poller = poller_, key = key_] {
    PosixSource* source = poller.find(key);
    if (!source) return;
    source->report_due_ = false;
    source->report({});
  });
}

void PosixSource::on_events(std::uint32_t events) {
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
