#include "hostd/ctl/guest_exec.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "hostd/ctl/container_options.h"
#include "hostd/ctl/guest_text.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using agent::client::Exec;
using agent::client::ExecSpec;
using agent::client::ExitStatus;
using agent::client::TerminalSize;
using agent::rpc::CallError;
using agent::rpc::Code;

constexpr int kCannotRun = 126;
constexpr int kNoProgram = 127;
constexpr std::size_t kInputBytes = std::size_t{32} << 10;

ExecSpec spec_of(const ExecAsked& asked) {
  ExecSpec spec{.args = asked.command,
                .env = env_of(asked.env),
                .cwd = asked.cwd,
                .user = asked.user,
                .container = asked.container};
  if (asked.terminal) {
    spec.terminal = terminal_size_of(STDOUT_FILENO);
    if (const char* kind = std::getenv("TERM"); kind && spec.env.count("TERM") == 0) {
      spec.env["TERM"] = kind;
    }
  }
  spec.no_stdin = !asked.interactive;
  spec.detach = asked.detach;
  spec.timeout =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(asked.timeout_seconds));
  return spec;
}

}  // namespace

TerminalSize terminal_size_of(int terminal) {
  winsize window{};
  if (::ioctl(terminal, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) return {};
  return {.rows = window.ws_row, .columns = window.ws_col};
}

int exit_status_of(const CallError& error) {
  if (!error.step.starts_with("execve")) return kCallFailed;
  return error.code == Code::not_found ? kNoProgram : kCannotRun;
}

GuestExec::~GuestExec() {
  restore_terminal();
}

void GuestExec::begin(agent::client::Caller& caller, std::function<void(int)> end) {
  begin(
      [&caller, spec = spec_of(asked_)](Exec::Events events) {
        return std::make_unique<Exec>(caller, spec, std::move(events));
      },
      std::move(end));
}

void GuestExec::begin(const MakeExec& make, std::function<void(int)> end,
                      std::function<void()> on_started) {
  end_ = std::move(end);
  on_started_ = std::move(on_started);
  if (asked_.terminal && asked_.interactive && ::isatty(STDIN_FILENO) != 1) {
    fmt::print(stderr, "hostctl: -t: standard input is no terminal\n");
    return end_(kCallFailed);
  }
  exec_ = make(
      Exec::Events{.on_started =
                       [this](const std::string& id, std::int32_t) {
                         if (asked_.detach) print(id + "\n");
                         if (asked_.terminal) make_raw();
                         if (on_started_) on_started_();
                       },
                   .on_output =
                       [this](bool is_stderr, ConstBytes bytes) {
                         bool taken = write_all(is_stderr ? STDERR_FILENO : STDOUT_FILENO, bytes);
                         exec_->consumed(bytes.size());
                         // As a shell's pipe would: who writes to nobody gets SIGPIPE.
                         if (!taken) exec_->signal(SIGPIPE);
                       },
                   .on_lost = tell_lost,
                   .on_input_room = [this] { pump_input(); },
                   .on_end =
                       [this](const CallError& error, const ExitStatus& exit) {
                         restore_terminal();
                         if (error.code == Code::ok) return end_(exit.code);
                         fmt::print(stderr, "hostctl: {}\n", text(nlohmann::json(error.message)));
                         end_(exit_status_of(error));
                       }});
  if (!watch_signals()) return end_(kCallFailed);
  if (!asked_.interactive || asked_.detach) return;
  input_open_ = true;
  input_watch_ = loop_.watch(STDIN_FILENO, {.readable = true}, [this](FdReady) { pump_input(); });
  input_polls_ = input_watch_ != nullptr;
  if (!input_polls_) loop_.defer([this] { pump_input(); });
}

bool GuestExec::watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  if (!asked_.terminal) {
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  }
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  signals_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_) return false;
  signal_watch_ = loop_.watch(signals_.get(), {.readable = true}, [this](FdReady) { on_signal(); });
  return true;
}

void GuestExec::on_signal() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGWINCH) {
      exec_->signal(info.ssi_signo);
    } else if (asked_.terminal) {
      exec_->resize(terminal_size_of(STDOUT_FILENO));
    }
  }
}

void GuestExec::make_raw() {
  termios settings{};
  if (before_ || ::tcgetattr(STDIN_FILENO, &settings) != 0) return;
  before_ = settings;
  ::cfmakeraw(&settings);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

void GuestExec::restore_terminal() {
  if (before_) ::tcsetattr(STDIN_FILENO, TCSANOW, &*before_);
  before_.reset();
}

void GuestExec::pump_input() {
  while (input_open_ && exec_->input_room() > 0) {
    std::array<std::uint8_t, kInputBytes> bytes;
    std::size_t most = std::min(bytes.size(), exec_->input_room());
    ssize_t got = ::read(STDIN_FILENO, bytes.data(), most);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      input_open_ = false;
      exec_->close_input();
      break;
    }
    exec_->write({bytes.data(), static_cast<std::size_t>(got)});
    // What can be waited for is, as the next read might block.
    if (input_polls_) break;
  }
  if (!input_watch_) return;
  if (!input_open_) {
    input_watch_.reset();
  } else {
    input_watch_->set_interest({.readable = exec_->input_room() > 0});
  }
}

}  // namespace sluice::ctl
