#pragma once

#include <memory>
#include <optional>

#include "agent/container/containers.h"
#include "agent/container/log_follower.h"
#include "agent/rpc/call.h"
#include "agent/rpc/credit.h"
#include "sluice/agent/v1/container.pb.h"

namespace sluice::agent {

/// One call of Container.Logs: a reader of its own, so that a slow client holds up nobody.
class LogsCall final : public rpc::Handler {
 public:
  static std::unique_ptr<rpc::Handler> begin(Loop& loop, const Containers& containers,
                                             rpc::Call& call, ConstBytes first);
  ~LogsCall() override;

  void on_message(ConstBytes bytes) override;
  void on_writable() override { pump(); }

 private:
  LogsCall(Loop& loop, rpc::Call& call, std::shared_ptr<Container> container,
           const sluice_agent_v1_LogsStart& start);
  bool pump();
  void send(const LogReader::Record& record);
  bool end(sluice_agent_v1_LogEnd_Reason reason);

  Loop& loop_;
  rpc::Call& call_;
  std::shared_ptr<Container> container_;
  bool follow_;
  std::int64_t since_ns_;
  std::int64_t until_ns_;
  LogReader::Wanted wanted_;
  LogFollower follower_;
  std::optional<LogReader::Record> record_;  ///< Read, and not sent for want of credit.
  std::size_t skip_ = 0;                     ///< Of the first record's data.
  std::uint64_t lost_ = 0;
  std::uint64_t next_ = 0;  ///< Behind what was sent or passed over.
  std::uint64_t credit_ = rpc::kInitialCredit;
  std::uint64_t state_watch_ = 0;
  std::unique_ptr<Timer> again_;
  std::unique_ptr<Timer> until_;
};

}  // namespace sluice::agent
