#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/process/children.h"

namespace sluice::agent {

/// Ends that are remembered, the latest.
inline constexpr std::size_t kRememberedEnds = 256;
/// Of a process's arguments that are remembered, all together: a list of all has to fit into one
/// message, and a program that ran is not to cost memory.
inline constexpr std::size_t kRememberedArgBytes = 1024;

/// The processes that were started by call, by id: those that run, and the latest that ended.
class ProcessTable {
 public:
  struct Process {
    std::string id;
    pid_t pid = -1;
    std::vector<std::string> args;
    std::int64_t started_at_ns = 0;
    std::optional<Exit> exit;
    bool timed_out = false;
  };
  using Waiter = std::function<void(const Process&)>;

  /// `started` has no exit yet, and an id of its own. Its arguments are cut to kRememberedArgBytes.
  void add(Process started);
  /// Told by who watches it. Waiters are called.
  void ended(const std::string& id, const Exit& exit, bool timed_out);
  /// Null where there is none, or none any more. Valid until the next call that changes the table.
  const Process* find(const std::string& id) const;
  /// In the order of their start.
  std::vector<const Process*> list() const;

  /// Calls `waiter` when it ends; at once where it has. The number is for unwait(); 0 where it was
  /// called.
  std::uint64_t wait(const std::string& id, Waiter waiter);
  void unwait(std::uint64_t number);

 private:
  struct Entry {
    Process process;
    std::uint64_t order = 0;
    std::map<std::uint64_t, Waiter> waiters;
  };
  std::unordered_map<std::string, Entry> processes_;
  std::unordered_map<std::uint64_t, std::string> waiting_;
  std::deque<std::string> ends_;  ///< Oldest first.
  std::uint64_t next_number_ = 1;
};

}  // namespace sluice::agent
