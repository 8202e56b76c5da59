#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/process/children.h"
#include "agent/worker/worker.h"
#include "base/loop.h"

namespace sluice::agent {

/// Work of the agent's own that may block, done in a process of its own, and what it says at its
/// end. Destroying this forgets the answer, not the work.
class Aside {
 public:
  /// `on_end` is called once, from the loop: with what `work` returned, or with "" where it ended
  /// without.
  Aside(Loop& loop, Children& children, std::function<std::string()> work,
        std::function<void(const std::string&)> on_end);

 private:
  void read();

  Worker worker_;
  std::string said_;
  std::function<void(const std::string&)> on_end_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> failure_;
};

}  // namespace sluice::agent
