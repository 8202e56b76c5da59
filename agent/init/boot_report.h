#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"

namespace sluice::agent {

/// What the agent did to bring the guest up: each step, what came of it, and how long it took.
class BootReport {
 public:
  enum class Result : std::uint8_t { running, done, skipped, failed };

  struct Step {
    std::string name;
    Result result = Result::running;
    bool mandatory = false;
    int error = 0;        ///< errno of what failed.
    std::string message;  ///< What failed, or why it was skipped.
    Duration started{};   ///< Since the agent's start.
    Duration took{};
  };
  using Index = std::size_t;

  /// Time is the monotonic clock's, from now on.
  BootReport();

  Index begin(std::string name, bool mandatory = false);
  void done(Index step, std::string message = "");
  void skipped(Index step, std::string why);
  void failed(Index step, int error, std::string message);
  /// A step that is over as soon as it is told of.
  void note(std::string name, Result result, std::string message = "", int error = 0);

  /// A step under way has the time that it has taken so far.
  std::vector<Step> steps() const;
  bool complete() const;
  /// A mandatory step has failed.
  bool has_failed() const;
  Duration age() const;

  /// Called for each step that is over.
  void add_listener(std::function<void(const Step&)> listener) {
    listeners_.push_back(std::move(listener));
  }

 private:
  void end(Index step, Result result, int error, std::string message);

  TimePoint start_;
  std::vector<Step> steps_;
  std::vector<std::function<void(const Step&)>> listeners_;
};

}  // namespace sluice::agent
