#pragma once

#include <net/status.h>
#include <net/verdict.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/destination.h"
#include "hostd/api/event_log.h"
#include "hostd/api/http_server.h"

namespace sluice::hostd {

/// Which events somebody asks for.
struct EventQuery {
  /// Those with greater numbers, from the first on; without, the latest.
  std::optional<std::uint64_t> after;
  /// 1 to EventLog::kCapacity; of a stream, how many of those that are there come first.
  std::optional<std::size_t> limit;
  std::optional<EventKind> kind;
  std::optional<Layer> layer;
  core::Destination to;

  /// Of `?after=N&limit=N&event=KIND&layer=LAYER&to=DESTINATION`, each of which may be missing.
  static Result<EventQuery> of(const HttpRequest& request);

  bool holds(const EventLog::Facts& facts) const;
};

/// What an event can be found by. Its far end is the client where a published port is concerned.
EventLog::Facts facts_of(const Event& event);

/// Answers GET /v1/events; `log` outlives the answer.
HttpResponse answer_events(EventLog& log, const HttpRequest& request);

}  // namespace sluice::hostd
