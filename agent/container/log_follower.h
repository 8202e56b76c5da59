#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/container/log_reader.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// What a call sends of a log in one go; others have their turn then, for the pause.
inline constexpr std::uint64_t kLogPieceBytes = std::uint64_t{1} << 20;
inline constexpr Duration kLogPause = std::chrono::milliseconds(1);

/// A LogReader that is told when there is more. One thread.
class LogFollower {
 public:
  /// `on_more`: reading again may find something. Never from within a call.
  LogFollower(Loop& loop, const std::string& directory, std::function<void()> on_more);
  LogFollower(const LogFollower&) = delete;
  LogFollower& operator=(const LogFollower&) = delete;

  LogReader& reader() { return reader_; }

 private:
  LogReader reader_;
  UniqueFd changes_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace sluice::agent
