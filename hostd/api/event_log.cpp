#include "hostd/api/event_log.h"

#include <algorithm>
#include <limits>

namespace sluice::hostd {

void EventLog::set_on_append(std::function<void()> on_append) {
  std::lock_guard lock(mutex_);
  on_append_ = std::move(on_append);
}

void EventLog::append(std::string json, Facts facts) {
  std::size_t bytes = json.size();
  for (const std::string& name : facts.names) bytes += name.size();
  std::function<void()> on_append;
  {
    std::lock_guard lock(mutex_);
    bytes_ += bytes;
    events_.push_back({std::move(json), std::move(facts), bytes});
    while (events_.size() > kCapacity || (bytes_ > kMaxBytes && events_.size() > 1)) {
      bytes_ -= events_.front().bytes;
      events_.pop_front();
    }
    ++latest_;
    on_append = on_append_;
  }
  if (on_append) on_append();
}

EventLog::Page EventLog::read(std::optional<std::uint64_t> after, std::size_t limit,
                              const Match& wanted) const {
  std::lock_guard lock(mutex_);
  std::uint64_t oldest = latest_ - events_.size() + 1;
  std::uint64_t base = std::min(after.value_or(0), std::numeric_limits<std::uint64_t>::max() - 1);
  std::uint64_t first = std::max(base + 1, oldest);
  std::vector<std::uint64_t> found;
  for (std::uint64_t n = first; n <= latest_; ++n) {
    if (wanted(events_[static_cast<std::size_t>(n - oldest)].facts)) found.push_back(n);
  }
  Page page;
  page.missed = first - (base + 1);
  page.rest = found.size() - std::min(found.size(), limit);
  auto left_out = static_cast<std::ptrdiff_t>(page.rest);
  bool is_from_start = after.has_value();
  found.erase(is_from_start ? found.end() - left_out : found.begin(),
              is_from_start ? found.end() : found.begin() + left_out);
  page.last = is_from_start && page.rest > 0 ? found.back() : std::max(latest_, first - 1);
  for (std::uint64_t n : found) {
    page.events.push_back({n, events_[static_cast<std::size_t>(n - oldest)].json});
  }
  return page;
}

std::uint64_t EventLog::latest() const {
  std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace sluice::hostd
