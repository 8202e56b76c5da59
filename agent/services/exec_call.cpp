#include "agent/services/exec_call.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "agent/os/descriptor.h"
#include "agent/process/terminal.h"
#include "agent/rpc/message.h"
#include "agent/services/process_messages.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::CallError;
using rpc::Code;
using rpc::text;

constexpr Duration kLinger = std::chrono::milliseconds(100);
constexpr std::size_t kMostInputEnds = 64;
/// What a client may say before its program runs, beside its input's credit.
constexpr std::size_t kMostEarlyMessages = 1024;
/// More than the kernel keeps of a terminal's output.
constexpr std::size_t kTerminalBytes = std::size_t{1} << 20;

bool make_pipe(UniqueFd& reader, UniqueFd& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  reader.reset(ends[0]);
  writer.reset(ends[1]);
  return true;
}

/// What can be read at once. A terminal doesn't say all of it.
std::size_t waiting_bytes(int fd) {
  int waiting = 0;
  if (::isatty(fd) != 0 || ::ioctl(fd, FIONREAD, &waiting) != 0) return kTerminalBytes;
  return static_cast<std::size_t>(std::max(waiting, 0));
}

}  // namespace

std::unique_ptr<rpc::Handler> ExecCall::begin(ProcessService& service, Call& call, ConstBytes first,
                                              std::shared_ptr<ExecLauncher> launcher) {
  auto request = rpc::Message<sluice_agent_v1_ExecRequest>::parse(first);
  if (!request) {
    call.fail(CallError::of(request.status()));
    return nullptr;
  }
  if ((*request)->which_message != sluice_agent_v1_ExecRequest_start_tag) {
    call.fail({.code = Code::invalid_argument, .message = "the first message is to be `start`"});
    return nullptr;
  }
  std::unique_ptr<ExecCall> exec(new ExecCall(service, call, std::move(launcher)));
  if (!exec->start((*request)->message.start)) return nullptr;
  return exec;
}

ExecCall::~ExecCall() {
  if (launching_) launcher_->forget();
  if (!ended_ && !id_.empty()) service_.abandon(id_);
}

/// False where the call needs no handler any more.
bool ExecCall::start(const sluice_agent_v1_ExecStart& start) {
  if (auto error = launcher_->prepare(start)) {
    call_.fail(*error);
    return false;
  }
  detach_ = start.detach;
  timeout_ = Duration(std::max<std::int64_t>(start.timeout_ns, 0));
  ExecLauncher::Streams streams;
  std::vector<UniqueFd> theirs;
  if (!detach_ && !open_streams(start, streams, theirs)) return false;
  launching_ = true;
  launcher_->launch(streams,
                    [this](ExecLauncher::Outcome outcome) { on_launched(std::move(outcome)); });
  return !over_;
}

void ExecCall::on_launched(ExecLauncher::Outcome outcome) {
  launching_ = false;
  if (outcome.error) {
    over_ = true;
    call_.fail(*outcome.error);
    return;
  }
  std::string id =
      service_.started(outcome.pid, launcher_->args(), detach_ ? nullptr : this, timeout_);
  sluice_agent_v1_ExecResponse response{};
  response.which_message = sluice_agent_v1_ExecResponse_started_tag;
  response.message.started = {.id = rpc::field(id), .pid = outcome.pid};
  call_.send_one(response);
  if (detach_) {
    over_ = true;
    call_.finish();
    return;
  }
  id_ = id;
  if (outcome.terminal) take_terminal(std::move(outcome.terminal));
  watch_streams();
  auto early = std::move(early_);
  early_.clear();
  for (std::size_t i = 0; i < early.size(); ++i) {
    // The last may end the call, and with it this.
    bool is_last = i + 1 == early.size();
    bool half_closed = half_closed_;
    if (!obey(early[i])) return;
    if (is_last && half_closed) return close_input();
  }
  if (early.empty() && half_closed_) close_input();
}

void ExecCall::take_terminal(UniqueFd master) {
  input_.reset(::fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  outputs_.push_back({.field = sluice_agent_v1_ExecResponse_stdout_tag,
                      .fd = std::move(master),
                      .watch = nullptr});
}

bool ExecCall::open_streams(const sluice_agent_v1_ExecStart& start, ExecLauncher::Streams& streams,
                            std::vector<UniqueFd>& theirs) {
  if (start.has_terminal) {
    is_terminal_ = true;
    streams.terminal = terminal_size_of(start.terminal);
    if (launcher_->makes_terminal()) return true;
    auto terminal = open_terminal(*streams.terminal);
    if (!terminal) {
      call_.fail(CallError::of(terminal.status()));
      return false;
    }
    streams.stdio.fill(terminal->slave.get());
    theirs.push_back(std::move(terminal->slave));
    take_terminal(std::move(terminal->master));
    return true;
  }

  auto add_output = [&](std::uint32_t field, int number) {
    Output output{.field = field, .fd = {}, .watch = nullptr};
    UniqueFd theirs_end;
    if (!make_pipe(output.fd, theirs_end)) return false;
    streams.stdio[static_cast<std::size_t>(number)] = theirs_end.get();
    theirs.push_back(std::move(theirs_end));
    outputs_.push_back(std::move(output));
    return true;
  };
  bool made = true;
  if (!start.no_stdin) {
    UniqueFd theirs_end;
    made = make_pipe(theirs_end, input_);
    streams.stdio[0] = theirs_end.get();
    theirs.push_back(std::move(theirs_end));
  }
  made = made && add_output(sluice_agent_v1_ExecResponse_stdout_tag, STDOUT_FILENO) &&
         add_output(sluice_agent_v1_ExecResponse_stderr_tag, STDERR_FILENO);
  if (!made) call_.fail(CallError::from_errno(errno, "pipe"));
  return made;
}

void ExecCall::watch_streams() {
  Loop& loop = service_.loop_;
  linger_ = loop.make_timer([this] {
    lingered_ = true;
    // Of what others go on writing no more than is there now.
    for (Output& output : outputs_) output.left = waiting_bytes(output.fd.get());
    pump_output();
  });
  for (Output& output : outputs_) {
    make_non_blocking(output.fd.get());
    output.watch = loop.watch(output.fd.get(), {.readable = true}, [this, &output](FdReady) {
      output.readable = true;
      pump_output();
    });
  }
  if (input_) {
    make_non_blocking(input_.get());
    input_watch_ = loop.watch(input_.get(), {}, [this](FdReady) { pump_input(); });
  }
}

void ExecCall::on_message(ConstBytes bytes) {
  if (!launching_) {
    obey(bytes);
    return;
  }
  early_bytes_ += bytes.size();
  if (early_.size() >= kMostEarlyMessages || early_bytes_ > 2 * rpc::kInitialCredit) {
    call_.fail({.code = Code::resource_exhausted, .message = "too much before the program runs"});
    return;
  }
  early_.emplace_back(bytes.begin(), bytes.end());
}

/// False where the call has failed: this is gone then.
bool ExecCall::obey(ConstBytes bytes) {
  auto parsed = rpc::Message<sluice_agent_v1_ExecRequest>::parse(bytes);
  if (!parsed) {
    call_.fail(CallError::of(parsed.status()));
    return false;
  }
  const sluice_agent_v1_ExecRequest& request = **parsed;
  switch (request.which_message) {
    case sluice_agent_v1_ExecRequest_stdin_tag:
      return take_input(rpc::bytes_of(request.message.stdin));
    case sluice_agent_v1_ExecRequest_stdin_closed_tag:
      if (request.message.stdin_closed) close_input();
      break;
    case sluice_agent_v1_ExecRequest_resize_tag:
      if (is_terminal_)
        resize_terminal(outputs_[0].fd.get(), terminal_size_of(request.message.resize));
      break;
    case sluice_agent_v1_ExecRequest_grant_tag:
      credit_ = rpc::with_grant(credit_, request.message.grant);
      return pump_output();
    case sluice_agent_v1_ExecRequest_signal_tag:
      service_.signal(id_, static_cast<int>(request.message.signal), true);
      break;
    case sluice_agent_v1_ExecRequest_start_tag:
      call_.fail({.code = Code::invalid_argument, .message = "a call has one `start`"});
      return false;
    default:
      // Of a later version.
      break;
  }
  return true;
}

void ExecCall::on_half_close() {
  half_closed_ = true;
  if (!launching_) close_input();
}

/// False where the call has failed.
bool ExecCall::take_input(ConstBytes bytes) {
  if (bytes.size() > rpc::kMaxBytesPerMessage) {
    call_.fail({.code = Code::invalid_argument,
                .message = fmt::format("{} bytes of input at once; {} are the most", bytes.size(),
                                       rpc::kMaxBytesPerMessage)});
    return false;
  }
  if (bytes.size() > input_credit_) {
    call_.fail({.code = Code::resource_exhausted, .message = "more input than was granted"});
    return false;
  }
  input_credit_ -= static_cast<std::uint32_t>(bytes.size());
  if (!input_ || input_closing_) {
    // Nobody reads it: it costs nothing, so it may go on.
    written_since_grant_ += static_cast<std::uint32_t>(bytes.size());
  } else {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  }
  pump_input();
  return true;
}

void ExecCall::close_input() {
  if (!input_ || input_closing_) return;
  if (is_terminal_) {
    // Ends are no bytes of the client's, and cost no credit; so their number has a limit.
    if (input_ends_.size() == kMostInputEnds) return;
    input_ends_.push_back(input_bytes_ + pending_.size());
    pending_.push_back(static_cast<std::uint8_t>(end_of_file_key(input_.get())));
  } else {
    input_closing_ = true;
  }
  pump_input();
}

void ExecCall::pump_input() {
  bool open = static_cast<bool>(input_);
  while (open && !pending_.empty()) {
    std::uint8_t piece[4096];
    std::size_t size = std::min(pending_.size(), sizeof piece);
    std::copy_n(pending_.begin(), size, piece);
    ssize_t written = ::write(input_.get(), piece, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) break;
    if (written < 0) {
      // The program has closed its end; what was for it goes nowhere.
      open = false;
      written = static_cast<ssize_t>(pending_.size());
    }
    pending_.erase(pending_.begin(), pending_.begin() + written);
    input_bytes_ += static_cast<std::uint64_t>(written);
    written_since_grant_ += static_cast<std::uint32_t>(written);
    while (!input_ends_.empty() && input_ends_.front() < input_bytes_) {
      input_ends_.pop_front();
      --written_since_grant_;
    }
  }
  if (!open || (input_closing_ && pending_.empty())) {
    input_watch_.reset();
    input_.reset();
  } else if (input_watch_) {
    input_watch_->set_interest({.writable = !pending_.empty()});
  }

  if (written_since_grant_ >= rpc::kGrantStep || (pending_.empty() && written_since_grant_ > 0)) {
    sluice_agent_v1_ExecResponse response{};
    response.which_message = sluice_agent_v1_ExecResponse_grant_tag;
    response.message.grant = written_since_grant_;
    input_credit_ += written_since_grant_;
    written_since_grant_ = 0;
    call_.send_one(response);
  }
}

/// False where the call has ended: this is gone then.
bool ExecCall::pump_output() {
  // In turn, so that neither stream waits for the other's end.
  bool moved = true;
  while (moved) {
    moved = false;
    for (Output& output : outputs_) moved |= pump(output);
  }
  for (Output& output : outputs_) update_watch(output);
  return !finish_if_done();
}

/// One piece; whether it is worth trying again.
bool ExecCall::pump(Output& output) {
  if (!output.fd || (!output.readable && !ended_)) return false;
  if (ended_ && is_over(output)) close(output);
  if (!output.fd || credit_ == 0 || !call_.writable()) return false;
  static thread_local rpc::BytesMessage stdout_message(sluice_agent_v1_ExecResponse_stdout_tag,
                                                       rpc::kMaxBytesPerMessage);
  static thread_local rpc::BytesMessage stderr_message(sluice_agent_v1_ExecResponse_stderr_tag,
                                                       rpc::kMaxBytesPerMessage);
  bool is_stdout = output.field == sluice_agent_v1_ExecResponse_stdout_tag;
  rpc::BytesMessage& message = is_stdout ? stdout_message : stderr_message;
  std::size_t most = std::min<std::uint64_t>({rpc::kMaxBytesPerMessage, credit_, output.left});
  ssize_t got = ::read(output.fd.get(), message.space().data(), most);
  if (got > 0) {
    credit_ -= static_cast<std::uint64_t>(got);
    if (lingered_) output.left -= static_cast<std::size_t>(got);
    call_.send(message.of(static_cast<std::size_t>(got)));
    return true;
  }
  if (got < 0 && errno == EINTR) return true;
  output.readable = false;
  bool waits = got < 0 && errno == EAGAIN;
  // A terminal says EIO when its last user has gone.
  if (!waits || lingered_) close(output);
  return false;
}

/// Nothing more is to come of it. Told without reading, which would take credit.
bool ExecCall::is_over(const Output& output) const {
  if (lingered_ && output.left == 0) return true;
  pollfd stream{.fd = output.fd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&stream, 1, 0) < 0 || (stream.revents & POLLIN) != 0) return false;
  return lingered_ || (stream.revents & (POLLHUP | POLLERR)) != 0;
}

void ExecCall::close(Output& output) {
  output.watch.reset();
  output.fd.reset();
}

void ExecCall::update_watch(Output& output) {
  if (output.watch) output.watch->set_interest({.readable = !output.readable});
}

void ExecCall::on_process_exit(const ProcessTable::Process& process) {
  ended_ = process;
  linger_->start(kLinger);
  pump_output();
}

bool ExecCall::finish_if_done() {
  bool all_read = std::none_of(outputs_.begin(), outputs_.end(),
                               [](const Output& output) { return static_cast<bool>(output.fd); });
  if (!ended_ || !all_read) return false;
  sluice_agent_v1_ExecResponse response{};
  response.which_message = sluice_agent_v1_ExecResponse_exit_tag;
  response.message.exit = exit_message(*ended_);
  call_.send_one(response);
  call_.finish();
  return true;
}

}  // namespace sluice::agent
