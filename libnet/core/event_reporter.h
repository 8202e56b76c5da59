#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include <net/verdict.h>

#include "base/loop.h"

namespace sluice::core {

/// Hands events to whoever wants them, and no more of them than anybody can read: of like ones
/// (kind, layer, protocol, guest address, destination, name asked) a few in a second; the others
/// are counted, and the last of them is reported with their number when the second is over. So a
/// guest can fill neither a log nor a disk, and no count is lost. On the loop's thread.
class EventReporter {
 public:
  using Report = std::function<void(const Event&)>;
  struct Sinks {
    Report on_denied;
    Report on_violation;  ///< Each refusal by a fatal rule, before on_denied, none suppressed.
    Report on_flow;       ///< What is let through, and ends.
  };

  /// Like events within this time are counted together.
  static constexpr auto kInterval = std::chrono::seconds(1);
  /// Of them are reported at once: refusals are mostly repeats, while flows are one each.
  static constexpr std::uint64_t kDenialsAtOnce = 1;
  static constexpr std::uint64_t kFlowsAtOnce = 50;
  /// Different ones within that time, such as of a port scan. All beyond are like each other.
  static constexpr std::size_t kMaxKinds = 4096;

  EventReporter(Loop& loop, std::string guest, Sinks sinks);

  /// Whether anybody wants events of what is let through: if not, they need not be made.
  bool wants_flows() const { return static_cast<bool>(sinks_.on_flow); }
  /// Fills in time and guest.
  void report(Event event);

  std::uint64_t denials() const { return denials_; }

 private:
  /// Events that are alike, since `since`.
  struct Recent {
    TimePoint since;
    std::uint64_t reported = 0;
    std::uint64_t suppressed = 0;
    std::unique_ptr<Event> last;  ///< Of those suppressed.
  };

  Recent& recent_of(const Event& event);
  void pass_on(const Event& event) const;
  void flush();

  Loop& loop_;
  std::string guest_;
  Sinks sinks_;
  std::unordered_map<std::string, Recent> recent_;
  std::unique_ptr<Timer> timer_;
  std::uint64_t denials_ = 0;
};

}  // namespace sluice::core
