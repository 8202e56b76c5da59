#include "core/event_reporter.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::core {

EventReporter::EventReporter(Loop& loop, std::string guest, Sinks sinks)
    : loop_(loop),
      guest_(std::move(guest)),
      sinks_(std::move(sinks)),
      timer_(loop.make_timer([this] { flush(); })) {}

EventReporter::Recent& EventReporter::recent_of(const Event& event) {
  std::string kind =
      fmt::format("{} {} {} {} {} {}", static_cast<int>(event.kind), static_cast<int>(event.layer),
                  static_cast<int>(event.protocol), event.source.address.to_string(),
                  event.destination.to_string(),
                  event.layer == Layer::dns && !event.names.empty() ? event.names.front() : "");
  if (recent_.size() >= kMaxKinds && !recent_.contains(kind)) kind.clear();
  auto [it, is_new] = recent_.try_emplace(std::move(kind));
  if (is_new) it->second.since = loop_.now();
  return it->second;
}

void EventReporter::report(Event event) {
  event.time_ns = loop_.wall_time_ns();
  event.guest = guest_;
  bool is_denial = event.kind == EventKind::denied;
  if (is_denial) ++denials_;
  if (event.is_fatal && sinks_.on_violation) sinks_.on_violation(event);
  if (is_denial ? !sinks_.on_denied : !sinks_.on_flow) return;
  Recent& recent = recent_of(event);
  if (!timer_->active()) timer_->start(kInterval);
  if (recent.reported >= (is_denial ? kDenialsAtOnce : kFlowsAtOnce)) {
    ++recent.suppressed;
    recent.last = std::make_unique<Event>(std::move(event));
    return;
  }
  ++recent.reported;
  pass_on(event);
}

void EventReporter::pass_on(const Event& event) const {
  (event.kind == EventKind::denied ? sinks_.on_denied : sinks_.on_flow)(event);
}

void EventReporter::flush() {
  TimePoint now = loop_.now();
  for (auto it = recent_.begin(); it != recent_.end();) {
    Recent& recent = it->second;
    if (now - recent.since < kInterval) {
      ++it;
    } else if (recent.last) {
      Event last = std::move(*std::exchange(recent.last, nullptr));
      last.suppressed = std::exchange(recent.suppressed, 0) - 1;
      // It is the first of a new interval.
      recent.since = now;
      recent.reported = 1;
      pass_on(last);
      ++it;
    } else {
      it = recent_.erase(it);
    }
  }
  if (!recent_.empty()) timer_->start(kInterval);
}

}  // namespace sluice::core
