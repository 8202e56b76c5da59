#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace sluice::hostd {

/// The latest events, numbered from 1, each a JSON object. Bounded: the oldest goes, and a reader
/// that comes too late is told how many it missed. Any thread.
class EventLog {
 public:
  static constexpr std::size_t kCapacity = 4096;
  /// Of all of them together: names from the guest can make one long.
  static constexpr std::size_t kMaxBytes = 16 << 20;

  /// Called after each append, on the thread that appends, without the lock.
  void set_on_append(std::function<void()> on_append);
  void append(std::string json);

  struct Page {
    std::vector<std::string> events;
    std::uint64_t first = 0;   ///< Number of the first of them.
    std::uint64_t missed = 0;  ///< Events after `after` that are gone.
  };
  /// The events after number `after`, oldest first, at most `limit`.
  Page read(std::uint64_t after, std::size_t limit) const;
  /// Number of the latest event; 0: there was none.
  std::uint64_t latest() const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> events_;
  std::size_t bytes_ = 0;
  std::uint64_t latest_ = 0;
  std::function<void()> on_append_;
};

}  // namespace sluice::hostd
