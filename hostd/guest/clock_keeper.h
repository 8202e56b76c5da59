#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/loop.h"

namespace sluice::hostd {

/// Keeps the guest's clock at the host's, by calls of its agent. One thread.
///
/// A Ping tells the guest's clock, with an error of at most half of its round trip. Where the clock
/// is further off than that and kTolerance, the agent is told to move it by the difference: to step
/// from 500 ms on, to slew below. A difference and not a time is sent, so that a call that waits
/// behind others does no harm.
///
/// A guest that was stopped, with its host or by itself, answers the Ping that was under way as
/// soon as it goes on. That answer was long under way, so the clock is asked for again at once.
///
/// After a step, and at the beginning, the guest's random numbers are seeded anew: it may be a copy
/// of another.
class ClockKeeper {
 public:
  static constexpr Duration kPeriod = std::chrono::seconds(10);
  static constexpr Duration kTolerance = std::chrono::milliseconds(2);
  /// A round trip that says nothing; then it is measured again, three times at most.
  static constexpr Duration kSlow = std::chrono::seconds(1);

  /// The answer's message, or nothing where the call has failed.
  using OnAnswer = std::function<void(std::optional<ConstBytes> message)>;
  /// Calls a method of the service Agent. Never answers from within; once the connection is gone,
  /// not at all.
  using Call = std::function<void(std::string_view method, ConstBytes message, OnAnswer on_answer)>;

  ClockKeeper(Loop& loop, Call call);

  /// An agent answers, by a connection of its own.
  void begin();
  /// The connection has gone.
  void stop();

  /// What the guest's clock was behind the host's (negative: ahead) when last looked at,
  /// nanoseconds; nothing: not yet by this connection.
  std::optional<std::int64_t> offset_ns() const { return offset_ns_; }

 private:
  void measure();
  void on_measured(std::optional<ConstBytes> message);
  void move();
  void on_moved(std::optional<ConstBytes> message);
  void seed();

  Loop& loop_;
  Call call_;
  std::unique_ptr<Timer> timer_;
  TimePoint asked_at_;
  int slow_answers_ = 0;
  bool may_move_ = true;  ///< This agent lets us.
  std::optional<std::int64_t> offset_ns_;
};

}  // namespace sluice::hostd
