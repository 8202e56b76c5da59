#pragma once

#include <termios.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "agent/client/guest.h"
#include "base/unique_fd.h"
#include "base/uv_loop.h"
#include "hostd/ctl/guest_commands.h"

namespace sluice::ctl {

/// One `guest exec`: our standard streams and the program's. With a terminal ours is raw as long as
/// the program runs, and the program's has its size; without one SIGINT, SIGTERM and SIGHUP go to
/// the program.
class GuestExec {
 public:
  GuestExec(UvLoop& loop, const ExecAsked& asked) : loop_(loop), asked_(asked) {}
  ~GuestExec();
  GuestExec(const GuestExec&) = delete;
  GuestExec& operator=(const GuestExec&) = delete;

  using MakeExec = std::function<std::unique_ptr<agent::client::Exec>(agent::client::Exec::Events)>;

  void begin(agent::client::Caller& caller, std::function<void(int)> end);
  /// With a call of somebody else's making; `on_started` when that has begun.
  void begin(const MakeExec& make, std::function<void(int)> end,
             std::function<void()> on_started = {});

 private:
  bool watch_signals();
  void on_signal();
  void make_raw();
  void restore_terminal();
  void pump_input();

  UvLoop& loop_;
  ExecAsked asked_;
  std::function<void(int)> end_;
  std::function<void()> on_started_;
  std::unique_ptr<agent::client::Exec> exec_;
  std::optional<termios> before_;
  bool input_open_ = false;
  bool input_polls_ = true;  ///< A file is always ready, and can't be waited for.
  std::unique_ptr<FdWatch> input_watch_;
  UniqueFd signals_;
  std::unique_ptr<FdWatch> signal_watch_;
};

agent::client::TerminalSize terminal_size_of(int terminal);
/// What a call that could not run a program makes of hostctl: 127 no such program, 126 it can't be
/// run, 125 else.
int exit_status_of(const agent::rpc::CallError& error);

}  // namespace sluice::ctl
