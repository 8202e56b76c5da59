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

  void begin(agent::client::Caller& caller, std::function<void(int)> end);

 private:
  bool watch_signals();
  void on_signal();
  void make_raw();
  void restore_terminal();
  void pump_input();

  UvLoop& loop_;
  ExecAsked asked_;
  std::function<void(int)> end_;
  std::unique_ptr<agent::client::Exec> exec_;
  std::optional<termios> before_;
  bool input_open_ = false;
  bool input_polls_ = true;  ///< A file is always ready, and can't be waited for.
  std::unique_ptr<FdWatch> input_watch_;
  UniqueFd signals_;
  std::unique_ptr<FdWatch> signal_watch_;
};

}  // namespace sluice::ctl
