#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/rpc/call.h"
#include "agent/rpc/credit.h"
#include "agent/services/exec_launcher.h"
#include "agent/services/process_service.h"
#include "base/unique_fd.h"
#include "sluice/agent/v1/process.pb.h"

namespace sluice::agent {

/// One call of Process.Exec or Container.Exec: a program and its standard streams, on credit
/// (process.proto has the rules).
///
///   client --stdin--> pending_ --> pipe or terminal     grant: as it is written
///   client <--stdout, stderr-- pipes or terminal        read as long as there is credit and room
///
/// The call ends when the program has, and all that it said has been sent.
class ExecCall final : public rpc::Handler, private ProcessService::Watcher {
 public:
  /// Null where the call was answered: with an error, or since it detaches.
  static std::unique_ptr<rpc::Handler> begin(ProcessService& service, rpc::Call& call,
                                             ConstBytes first,
                                             std::shared_ptr<ExecLauncher> launcher);
  ~ExecCall() override;

  void on_message(ConstBytes bytes) override;
  void on_half_close() override;
  void on_writable() override {
    if (!launching_) pump_output();
  }

 private:
  /// One stream out of the program.
  struct Output {
    std::uint32_t field = 0;  ///< Of ExecResponse.
    UniqueFd fd;
    std::unique_ptr<FdWatch> watch;
    bool readable = false;
    std::size_t left = SIZE_MAX;  ///< What may still be read; less once it has lingered.
  };

  ExecCall(ProcessService& service, rpc::Call& call, std::shared_ptr<ExecLauncher> launcher)
      : service_(service), call_(call), launcher_(std::move(launcher)) {}

  bool start(const sluice_agent_v1_ExecStart& start);
  void on_launched(ExecLauncher::Outcome outcome);
  void take_terminal(UniqueFd master);
  bool open_streams(const sluice_agent_v1_ExecStart& start, ExecLauncher::Streams& streams,
                    std::vector<UniqueFd>& theirs);
  bool obey(ConstBytes bytes);
  void watch_streams();
  bool take_input(ConstBytes bytes);
  void pump_input();
  void close_input();
  bool pump_output();
  bool pump(Output& output);
  bool is_over(const Output& output) const;
  static void close(Output& output);
  void update_watch(Output& output);
  void on_process_exit(const ProcessTable::Process& process) override;
  bool finish_if_done();

  ProcessService& service_;
  rpc::Call& call_;
  std::shared_ptr<ExecLauncher> launcher_;
  bool launching_ = false;
  bool over_ = false;  ///< Answered before there was a handler.
  bool detach_ = false;
  Duration timeout_{};
  std::vector<std::vector<std::uint8_t>> early_;  ///< What was said while launching_.
  std::size_t early_bytes_ = 0;
  bool half_closed_ = false;
  std::string id_;
  bool is_terminal_ = false;
  UniqueFd input_;  ///< The terminal's master is outputs_[0].fd, and this a copy of it.
  std::unique_ptr<FdWatch> input_watch_;
  std::deque<std::uint8_t> pending_;
  std::uint64_t input_bytes_ = 0;         ///< Written, or given up.
  std::deque<std::uint64_t> input_ends_;  ///< Where among them an end of file is typed.
  bool input_closing_ = false;
  std::uint32_t input_credit_ = rpc::kInitialCredit;
  std::uint32_t written_since_grant_ = 0;
  std::vector<Output> outputs_;
  std::uint64_t credit_ = rpc::kInitialCredit;
  std::optional<ProcessTable::Process> ended_;
  bool lingered_ = false;  ///< Who else keeps the streams open has had its time.
  std::unique_ptr<Timer> linger_;
};

}  // namespace sluice::agent
