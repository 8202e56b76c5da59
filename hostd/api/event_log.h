#pragma once

#include <net/address.h>
#include <net/verdict.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
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

  /// What an event can be found by.
  struct Facts {
    EventKind kind = EventKind::denied;
    Layer layer = Layer::syn;
    IpAddress remote;                ///< The far end.
    std::vector<std::string> names;  ///< In their normal form.
  };
  /// Whether a reader wants it. Called with the lock held.
  using Match = std::function<bool(const Facts& facts)>;

  /// Called after each append, on the thread that appends, without the lock.
  void set_on_append(std::function<void()> on_append);
  void append(std::string json, Facts facts);

  struct Item {
    std::uint64_t number = 0;
    std::string json;
  };
  struct Page {
    std::vector<Item> events;  ///< Oldest first.
    std::uint64_t missed = 0;  ///< Events after `after` that are gone, wanted or not.
    std::uint64_t last = 0;    ///< Up to this number none is left to be read.
    std::size_t rest = 0;      ///< Wanted ones that there was no room for.
  };
  /// Of the wanted events `limit` at most: the first after number `after`, or else the latest.
  Page read(std::optional<std::uint64_t> after, std::size_t limit, const Match& wanted) const;
  /// Number of the latest event; 0: there was none.
  std::uint64_t latest() const;

 private:
  struct Entry {
    std::string json;
    Facts facts;
    std::size_t bytes = 0;
  };

  mutable std::mutex mutex_;
  std::deque<Entry> events_;
  std::size_t bytes_ = 0;
  std::uint64_t latest_ = 0;
  std::function<void()> on_append_;
};

}  // namespace sluice::hostd
