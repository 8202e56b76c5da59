#pragma once

#include <functional>
#include <memory>

#include "base/loop.h"

namespace sluice::agent {

/// The longest grace: beyond it there is no kill.
inline constexpr Duration kMostGrace = std::chrono::hours(24 * 365);

/// How a guest is to end.
struct ShutdownOrder {
  bool reboot = false;
  Duration grace = std::chrono::seconds(10);
};

/// The end of a guest whose init the agent is: SIGTERM to every process, SIGKILL to those that are
/// left after the grace, then the file systems, then power. One per process; once begun it can't be
/// called off, and a second order only shortens the grace.
class Shutdown {
 public:
  explicit Shutdown(Loop& loop);
  void begin(const ShutdownOrder& order);

 private:
  void look();
  [[noreturn]] void finish();

  Loop& loop_;
  ShutdownOrder order_;
  bool begun_ = false;
  bool killed_ = false;
  TimePoint deadline_;
  std::unique_ptr<Timer> timer_;
};

}  // namespace sluice::agent
