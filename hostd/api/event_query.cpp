#include "hostd/api/event_query.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "hostd/api/answers.h"

namespace sluice::hostd {

namespace {

/// Events of one answer that does not follow, if nothing is said.
constexpr std::size_t kEventsPerPage = 1000;
/// Events that a stream takes from the log at once.
constexpr std::size_t kEventsPerPull = 100;

constexpr std::array kKinds{EventKind::denied, EventKind::allowed, EventKind::closed};
constexpr std::array kLayers{Layer::dns, Layer::syn,  Layer::first_flight,
                             Layer::udp, Layer::icmp, Layer::ingress};

/// The one of `all` that an argument names, where it is there.
template <typename Choices, typename Choice>
Status take_choice(const HttpRequest& request, const std::string& name, const Choices& all,
                   std::optional<Choice>& out) {
  auto text = argument(request, name);
  if (!text) return Status::ok();
  std::string known;
  for (Choice one : all) {
    if (*text == to_string(one)) out = one;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", to_string(one));
  }
  if (out) return Status::ok();
  return Status(StatusCode::invalid_argument, fmt::format("{} is one of {}", name, known));
}

std::string with_number(const EventLog::Item& item) {
  // Events are objects with members, so a number can be put in front.
  return fmt::format("{{\"seq\":{},{}", item.number, std::string_view(item.json).substr(1));
}

EventLog::Match match_of(const EventQuery& query) {
  return [query](const EventLog::Facts& facts) { return query.holds(facts); };
}

/// Server-sent events (HTML standard, section 9.2): each with its number as id.
class EventStream final : public HttpStream {
 public:
  EventStream(EventLog& log, EventLog::Match match, std::uint64_t after)
      : log_(log), match_(std::move(match)), after_(after) {}

  std::string pull() override {
    EventLog::Page page = log_.read(after_, kEventsPerPull, match_);
    after_ = page.last;
    std::string out;
    // A first line at once tells the client that it is connected.
    if (!std::exchange(greeted_, true)) out = ": following\n\n";
    if (page.missed > 0) out += fmt::format("event: missed\ndata: {}\n\n", page.missed);
    for (const EventLog::Item& item : page.events) {
      out += fmt::format("id: {}\ndata: {}\n\n", item.number, with_number(item));
    }
    return out;
  }

 private:
  EventLog& log_;
  EventLog::Match match_;
  std::uint64_t after_;
  bool greeted_ = false;
};

}  // namespace

Result<EventQuery> EventQuery::of(const HttpRequest& request) {
  EventQuery query;
  auto after = number_argument(request, "after");
  if (!after) return after.status();
  query.after = *after;
  auto limit = number_argument(request, "limit");
  if (!limit) return limit.status();
  if (*limit && (**limit < 1 || **limit > EventLog::kCapacity)) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("limit is 1 to {}", EventLog::kCapacity));
  }
  query.limit = *limit;
  if (Status status = take_choice(request, "event", kKinds, query.kind); !status) return status;
  if (Status status = take_choice(request, "layer", kLayers, query.layer); !status) return status;
  auto to = core::Destination::parse(argument(request, "to").value_or(""));
  if (!to) return to.status();
  query.to = std::move(*to);
  return query;
}

bool EventQuery::holds(const EventLog::Facts& facts) const {
  if (kind.value_or(facts.kind) != facts.kind || layer.value_or(facts.layer) != facts.layer) {
    return false;
  }
  if (auto decided = to.holds(facts.remote)) return *decided;
  return std::ranges::any_of(facts.names,
                             [&](const std::string& name) { return to.holds_name(name); });
}

EventLog::Facts facts_of(const Event& event) {
  EventLog::Facts facts{
      .kind = event.kind,
      .layer = event.layer,
      .remote = event.layer == Layer::ingress ? event.source.address : event.destination.address,
      .names = event.names};
  if (!event.server_name.empty()) facts.names.push_back(event.server_name);
  return facts;
}

HttpResponse answer_events(EventLog& log, const HttpRequest& request) {
  auto query = EventQuery::of(request);
  if (!query) return problem(query.status());
  EventLog::Match match = match_of(*query);
  if (argument(request, "follow")) {
    std::uint64_t after = query->after.value_or(0);
    if (query->limit) {
      EventLog::Page latest = log.read(std::nullopt, *query->limit, match);
      after = std::max(after, latest.events.empty() ? latest.last : latest.events[0].number - 1);
    }
    return {.content_type = "text/event-stream",
            .stream = std::make_unique<EventStream>(log, std::move(match), after)};
  }
  EventLog::Page page = log.read(query->after, query->limit.value_or(kEventsPerPage), match);
  std::string list;
  for (const EventLog::Item& item : page.events) {
    list += fmt::format("{}{}", list.empty() ? "" : ",", with_number(item));
  }
  return {.body = fmt::format("{{\"missed\":{},\"rest\":{},\"events\":[{}]}}\n", page.missed,
                              page.rest, list)};
}

}  // namespace sluice::hostd
