#include "base/poller.h"

#include <algorithm>
#include <cerrno>

namespace sluice {

Status Poller::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return Status::from_errno(errno, "make an epoll set");
  return Status::ok();
}

Poller::Key Poller::add(int fd, std::uint32_t events, PollTarget* target) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  std::uint32_t index = free_.back();
  Key key = Key{slots_[index].generation} << 32 | index;
  epoll_event event{.events = events, .data = {.u64 = key}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return 0;
  free_.pop_back();
  slots_[index].target = target;
  return key;
}

void Poller::change(Key key, int fd, std::uint32_t events) {
  epoll_event event{.events = events, .data = {.u64 = key}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::remove(Key key, int fd) {
  // Closing alone would leave the descriptor in the set if it has been duplicated (a fork).
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  auto index = static_cast<std::uint32_t>(key);
  slots_[index].target = nullptr;
  ++slots_[index].generation;
  free_.push_back(index);
}

PollTarget* Poller::find(Key key) const {
  const Slot& slot = slots_[static_cast<std::uint32_t>(key)];
  return slot.generation == key >> 32 ? slot.target : nullptr;
}

void Poller::wait(int timeout_ms) {
  int count = ::epoll_wait(epoll_.get(), ready_.data(), kBatch, timeout_ms);
  ready_count_ = static_cast<std::size_t>(std::max(count, 0));
}

void Poller::deliver() {
  for (std::size_t i = 0; i < ready_count_; ++i) {
    if (PollTarget* target = find(ready_[i].data.u64)) target->on_events(ready_[i].events);
  }
  ready_count_ = 0;
}

}  // namespace sluice
