#include "agent/services/attach_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "agent/rpc/message.h"
#include "agent/services/container_calls.h"
#include "agent/services/container_messages.h"
#include "agent/services/exec_launcher.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::CallError;
using rpc::Code;
using rpc::text;

/// How much is read before the shim is told of it.
constexpr std::uint64_t kTellStep = std::uint64_t{64} << 10;
constexpr std::size_t kMostPending = 1024;

}  // namespace

std::unique_ptr<rpc::Handler> AttachCall::begin(Loop& loop, const Containers& containers,
                                                Call& call, ConstBytes first) {
  auto request = rpc::Message<sluice_agent_v1_AttachRequest>::parse(first);
  if (!request) {
    call.fail(CallError::of(request.status()));
    return nullptr;
  }
  if ((*request)->which_message != sluice_agent_v1_AttachRequest_start_tag) {
    call.fail({.code = Code::invalid_argument, .message = "the first message is to be `start`"});
    return nullptr;
  }
  const sluice_agent_v1_AttachStart& start = (*request)->message.start;
  auto container = container_of(containers, call, text(start.container));
  if (!container) return nullptr;
  std::unique_ptr<AttachCall> attach(new AttachCall(loop, call, std::move(container), start));
  sluice_agent_v1_AttachResponse response{};
  response.which_message = sluice_agent_v1_AttachResponse_attached_tag;
  response.message.attached = {.terminal = attach->container_->spec().terminal.has_value(),
                               .stdin = attach->takes_input_,
                               .offset = attach->follower_.reader().position()};
  call.send_one(response);
  if (attach->container_->is_running()) attach->connect();
  if (!attach->on_state()) return nullptr;
  return attach;
}

AttachCall::AttachCall(Loop& loop, Call& call, std::shared_ptr<Container> container,
                       const sluice_agent_v1_AttachStart& start)
    : loop_(loop),
      call_(call),
      container_(std::move(container)),
      takes_input_(container_->spec().open_stdin && !start.no_stdin),
      holds_(!start.no_hold),
      follower_(loop, container_->log_directory(), [this] { pump(); }) {
  LogReader& reader = follower_.reader();
  reader.seek(start.offset > 0 ? start.offset : reader.end());
  again_ = loop.make_timer([this] { pump(); });
  state_watch_ = container_->watch([this] { on_state(); });
  creation_watch_ = container_->watch_creation([this] { connect(); });
}

AttachCall::~AttachCall() {
  container_->unwatch(state_watch_);
  container_->unwatch_creation(creation_watch_);
}

void AttachCall::connect() {
  auto path = container_->shim_socket();
  if (holds_ && !hold_) {
    // Where it can't be the shim has gone, which is told otherwise.
    if (auto link = ShimLink::connect(loop_, path, {})) hold_ = std::move(*link);
    tell_position();
  }
  if (takes_input_ && !input_) {
    auto link = ShimLink::connect(
        loop_, path, {.on_word = nullptr, .on_end = nullptr, .on_room = [this] { pump_input(); }});
    if (link) input_ = std::move(*link);
    if (size_) container_->resize(*size_);
    pump_input();
  }
}

void AttachCall::disconnect() {
  hold_.reset();
  input_.reset();
}

/// False where the call has ended: this is gone then.
bool AttachCall::on_state() {
  was_alive_ |= container_->is_alive();
  return pump();
}

void AttachCall::on_message(ConstBytes bytes) {
  auto parsed = rpc::Message<sluice_agent_v1_AttachRequest>::parse(bytes);
  if (!parsed) return call_.fail(CallError::of(parsed.status()));
  const sluice_agent_v1_AttachRequest& request = **parsed;
  switch (request.which_message) {
    case sluice_agent_v1_AttachRequest_stdin_tag:
      take_input(rpc::bytes_of(request.message.stdin));
      break;
    case sluice_agent_v1_AttachRequest_stdin_closed_tag:
      if (request.message.stdin_closed) close_input();
      break;
    case sluice_agent_v1_AttachRequest_resize_tag:
      size_ = terminal_size_of(request.message.resize);
      container_->resize(*size_);
      break;
    case sluice_agent_v1_AttachRequest_grant_tag:
      credit_ = rpc::with_grant(credit_, request.message.grant);
      pump();
      break;
    case sluice_agent_v1_AttachRequest_start_tag:
      call_.fail({.code = Code::invalid_argument, .message = "a call has one `start`"});
      break;
    default:
      // Of a later version.
      break;
  }
}

/// False where the call has ended: this is gone then.
bool AttachCall::pump() {
  bool over =
      was_alive_ ? !container_->is_alive() : container_->state() == Container::State::removed;
  LogReader& reader = follower_.reader();
  std::uint64_t most = reader.position() + kLogPieceBytes;
  while (send_piece()) {
    if (reader.position() < most) continue;
    again_->start(kLogPause);
    tell_position();
    return true;
  }
  if (reader.position() >= told_ + kTellStep || (!record_ && reader.position() > told_)) {
    tell_position();
  }
  return record_ || !over || finish();
}

/// Whether there may be more to send.
bool AttachCall::send_piece() {
  static thread_local rpc::BytesMessage stdout_message(sluice_agent_v1_AttachResponse_stdout_tag,
                                                       rpc::kMaxBytesPerMessage);
  static thread_local rpc::BytesMessage stderr_message(sluice_agent_v1_AttachResponse_stderr_tag,
                                                       rpc::kMaxBytesPerMessage);
  if (!record_) {
    record_ = follower_.reader().next();
    sent_ = 0;
  }
  if (!record_ || credit_ == 0 || !call_.writable()) return false;
  if (record_->lost > 0) tell_lost(std::exchange(record_->lost, 0));
  ConstBytes rest = record_->data.subspan(sent_);
  ConstBytes piece = rest.first(std::min<std::uint64_t>(rest.size(), credit_));
  if (!piece.empty()) {
    rpc::BytesMessage& message = record_->head.is_stderr ? stderr_message : stdout_message;
    std::copy(piece.begin(), piece.end(), message.space().begin());
    credit_ -= piece.size();
    sent_ += piece.size();
    call_.send(message.of(piece.size()));
  }
  if (piece.size() == rest.size()) record_.reset();
  return true;
}

void AttachCall::tell_lost(std::uint64_t bytes) {
  sluice_agent_v1_AttachResponse response{};
  response.which_message = sluice_agent_v1_AttachResponse_lost_tag;
  response.message.lost = bytes;
  call_.send_one(response);
}

void AttachCall::tell_position() {
  if (!hold_) return;
  std::array<std::uint8_t, 8> position{};
  told_ = follower_.reader().position();
  store_be64(position.data(), told_);
  hold_->send(ShimWord::hold, position);
}

bool AttachCall::take_input(ConstBytes bytes) {
  if (bytes.size() > rpc::kMaxBytesPerMessage) {
    call_.fail({.code = Code::invalid_argument,
                .message = fmt::format("{} bytes of input at once; {} are the most", bytes.size(),
                                       rpc::kMaxBytesPerMessage)});
    return false;
  }
  if (bytes.size() > input_credit_ || pending_.size() >= kMostPending) {
    call_.fail({.code = Code::resource_exhausted, .message = "more input than was granted"});
    return false;
  }
  input_credit_ -= static_cast<std::uint32_t>(bytes.size());
  if (!takes_input_ || input_closed_) {
    written_ += static_cast<std::uint32_t>(bytes.size());
    give_credit();
  } else if (!bytes.empty()) {
    pending_.emplace_back(bytes.begin(), bytes.end());
    pump_input();
  }
  return true;
}

void AttachCall::close_input() {
  if (!takes_input_ || input_closed_) return;
  // A terminal's input goes on behind an end of file.
  if (!container_->spec().terminal) input_closed_ = true;
  if (pending_.size() < kMostPending) pending_.emplace_back();
  pump_input();
}

void AttachCall::pump_input() {
  while (input_ && !pending_.empty()) {
    const Input& next = pending_.front();
    ShimWord word = next.empty() ? ShimWord::input_closed : ShimWord::input;
    if (!input_->send(word, next)) break;
    written_ += static_cast<std::uint32_t>(next.size());
    pending_.pop_front();
  }
  give_credit();
}

void AttachCall::give_credit() {
  if (written_ < rpc::kGrantStep && (!pending_.empty() || written_ == 0)) return;
  sluice_agent_v1_AttachResponse response{};
  response.which_message = sluice_agent_v1_AttachResponse_grant_tag;
  response.message.grant = written_;
  input_credit_ += written_;
  written_ = 0;
  call_.send_one(response);
}

bool AttachCall::finish() {
  disconnect();
  const auto& status = container_->status();
  if (!status.exit) {
    call_.fail({.code = Code::aborted, .message = container_->spec().name + " was removed"});
    return false;
  }
  if (std::uint64_t lost = follower_.reader().take_lost()) tell_lost(lost);
  MessageStore store;
  sluice_agent_v1_AttachResponse response{};
  response.which_message = sluice_agent_v1_AttachResponse_exit_tag;
  response.message.exit = exit_message(*container_, store);
  call_.send_one(response);
  call_.finish();
  return false;
}

}  // namespace sluice::agent
