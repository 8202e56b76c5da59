#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/container/log_reader.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent {

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
