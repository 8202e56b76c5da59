#include "agent/services/logs_call.h"

#include <algorithm>

#include "agent/rpc/message.h"
#include "agent/services/container_calls.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::CallError;
using rpc::Code;
using rpc::text;

constexpr Duration kMostWait = std::chrono::hours(24 * 365);

}  // namespace

std::unique_ptr<rpc::Handler> LogsCall::begin(Loop& loop, const Containers& containers, Call& call,
                                              ConstBytes first) {
  auto request = rpc::Message<sluice_agent_v1_LogsRequest>::parse(first);
  if (!request) {
    call.fail(CallError::of(request.status()));
    return nullptr;
  }
  if ((*request)->which_message != sluice_agent_v1_LogsRequest_start_tag) {
    call.fail({.code = Code::invalid_argument, .message = "the first message is to be `start`"});
    return nullptr;
  }
  const sluice_agent_v1_LogsStart& start = (*request)->message.start;
  if (start.offset > 0 && (start.tail > 0 || start.only_new)) {
    call.fail({.code = Code::invalid_argument,
               .message = "offset excludes tail and only_new: it says where to begin"});
    return nullptr;
  }
  auto container = container_of(containers, call, text(start.container));
  if (!container) return nullptr;
  std::unique_ptr<LogsCall> logs(new LogsCall(loop, call, std::move(container), start));
  if (!logs->pump()) return nullptr;
  return logs;
}

LogsCall::LogsCall(Loop& loop, Call& call, std::shared_ptr<Container> container,
                   const sluice_agent_v1_LogsStart& start)
    : loop_(loop),
      call_(call),
      container_(std::move(container)),
      follow_(start.follow),
      since_ns_(start.since_ns),
      until_ns_(start.until_ns),
      wanted_{.out = !start.no_stdout, .err = !start.no_stderr},
      follower_(loop, container_->log_directory(), [this] { pump(); }) {
  LogReader& reader = follower_.reader();
  if (start.offset > 0) {
    reader.seek(start.offset);
  } else if (start.only_new) {
    reader.seek(reader.end());
  } else if (start.tail > 0) {
    LogReader::Place place = reader.tail(start.tail, wanted_);
    reader.seek(place.at);
    skip_ = place.skip;
  } else {
    // What was rotated away before was not asked for.
    reader.seek(reader.begin());
  }
  next_ = reader.position();
  again_ = loop.make_timer([this] { pump(); });
  until_ = loop.make_timer([this] { pump(); });
  state_watch_ = container_->watch([this] { pump(); });
}

LogsCall::~LogsCall() {
  container_->unwatch(state_watch_);
}

void LogsCall::on_message(ConstBytes bytes) {
  auto request = rpc::Message<sluice_agent_v1_LogsRequest>::parse(bytes);
  if (!request) return call_.fail(CallError::of(request.status()));
  if ((*request)->which_message != sluice_agent_v1_LogsRequest_grant_tag) return;
  credit_ = rpc::with_grant(credit_, (*request)->message.grant);
  pump();
}

/// False where the call has ended: this is gone then.
bool LogsCall::pump() {
  // Asked before the log is read to its end, so that nothing comes between.
  bool removed = container_->state() == Container::State::removed;
  bool over = container_->is_over();
  LogReader& reader = follower_.reader();
  std::uint64_t most = reader.position() + kLogPieceBytes;
  for (;;) {
    if (!record_) record_ = reader.next();
    if (!record_) break;
    if (until_ns_ > 0 && record_->head.time_ns >= until_ns_) {
      return end(sluice_agent_v1_LogEnd_Reason_UNTIL);
    }
    lost_ += std::exchange(record_->lost, 0);
    bool wanted = record_->head.is_stderr ? wanted_.err : wanted_.out;
    if (wanted && record_->head.time_ns >= since_ns_) {
      if (!call_.writable() || credit_ < record_->data.size()) return true;
      send(*record_);
    }
    next_ = record_->next;
    skip_ = 0;
    record_.reset();
    if (reader.position() >= most) {
      again_->start(kLogPause);
      return true;
    }
  }
  next_ = reader.position();
  if (removed) return end(sluice_agent_v1_LogEnd_Reason_REMOVED);
  if (over) return end(sluice_agent_v1_LogEnd_Reason_EXITED);
  if (!follow_) return end(sluice_agent_v1_LogEnd_Reason_CAUGHT_UP);
  if (until_ns_ > 0) {
    std::int64_t left = until_ns_ - loop_.wall_time_ns();
    if (left <= 0) return end(sluice_agent_v1_LogEnd_Reason_UNTIL);
    until_->start(std::min(Duration(left), kMostWait));
  }
  return true;
}

void LogsCall::send(const LogReader::Record& record) {
  ConstBytes data = record.data.subspan(std::min(skip_, record.data.size()));
  rpc::BytesField bytes(data);
  sluice_agent_v1_LogsResponse response{};
  response.which_message = sluice_agent_v1_LogsResponse_record_tag;
  response.message.record = {.time_ns = record.head.time_ns,
                             .is_stderr = record.head.is_stderr,
                             .data = bytes.array(),
                             .partial = record.head.partial,
                             .next_offset = record.next,
                             .lost = std::exchange(lost_, 0)};
  credit_ -= data.size();
  call_.send_one(response);
}

bool LogsCall::end(sluice_agent_v1_LogEnd_Reason reason) {
  sluice_agent_v1_LogsResponse response{};
  response.which_message = sluice_agent_v1_LogsResponse_end_tag;
  response.message.end = {
      .reason = reason, .next_offset = next_, .lost = lost_ + follower_.reader().take_lost()};
  call_.send_one(response);
  call_.finish();
  return false;
}

}  // namespace sluice::agent
