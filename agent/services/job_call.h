#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/process/children.h"
#include "agent/rpc/call.h"
#include "agent/rpc/credit.h"
#include "agent/worker/worker.h"
#include "base/loop.h"

namespace sluice::agent {

/// What a client's message has for a job.
struct JobInput {
  ConstBytes bytes;
  bool end = false;         ///< No more bytes follow.
  std::uint32_t grant = 0;  ///< Bytes more that may come back.
};

/// How a call carries what its job takes and says.
struct JobWire {
  /// Calls `take` with what is in a client's message, or says what is wrong with it. Empty: the
  /// client sends nothing but the request, and one message is the answer.
  using Take = std::function<void(const JobInput&)>;
  std::function<Status(ConstBytes message, const Take& take)> read;
  /// A message that grants the client so many bytes more. Empty: it has none to send.
  std::function<std::vector<std::uint8_t>(std::uint32_t)> grant;
  std::uint32_t bytes_field = 0;  ///< Of the message that bytes come back in; below 16.
};

/// Runs the jobs of calls, each in a worker of its own, and carries their bytes on credit. A call
/// that ends before its job has the job give up. One thread.
class JobRunner {
 public:
  static constexpr std::size_t kMaxJobs = 64;
  JobRunner(Loop& loop, Children& children) : loop_(loop), children_(children) {}
  JobRunner(const JobRunner&) = delete;
  JobRunner& operator=(const JobRunner&) = delete;

  using AfterExit = std::function<void(const Exit&)>;
  /// Null where the call was answered: there are too many jobs. `after` is called when the worker
  /// has ended, whatever became of the call.
  std::unique_ptr<rpc::Handler> begin(rpc::Call& call, const Job& job, JobWire wire = {},
                                      AfterExit after = {});
  /// A job for nobody. What it says is lost.
  void run_aside(const Job& job);

 private:
  friend class JobCall;

  Loop& loop_;
  Children& children_;
  std::size_t running_ = 0;
};

}  // namespace sluice::agent
