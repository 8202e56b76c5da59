#include "hostd/api/event_log.h"

#include <algorithm>

namespace sluice::hostd {

void EventLog::set_on_append(std::function<void()> on_append) {
  std::lock_guard lock(mutex_);
  on_append_ = std::move(on_append);
}

void EventLog::append(std::string json) {
  std::function<void()> on_append;
  {
    std::lock_guard lock(mutex_);
    bytes_ += json.size();
    events_.push_back(std::move(json));
    while (events_.size() > kCapacity || (bytes_ > kMaxBytes && events_.size() > 1)) {
      bytes_ -= events_.front().size();
      events_.pop_front();
    }
    ++latest_;
    on_append = on_append_;
  }
  if (on_append) on_append();
}

EventLog::Page EventLog::read(std::uint64_t after, std::size_t limit) const {
  std::lock_guard lock(mutex_);
  std::uint64_t oldest = latest_ - events_.size() + 1;
  Page page;
  page.first = std::max(after + 1, oldest);
  page.missed = page.first - (after + 1);
  for (std::uint64_t n = page.first; n <= latest_ && page.events.size() < limit; ++n) {
    page.events.push_back(events_[static_cast<std::size_t>(n - oldest)]);
  }
  return page;
}

std::uint64_t EventLog::latest() const {
  std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace sluice::hostd
