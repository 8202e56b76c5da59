#pragma once

#include <sys/types.h>

#include "agent/worker/job.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// A process that does a job. The caller registers it with Children. SIGTERM makes it give up: its
/// reads fail with `closed`, and the job cleans up. So does the agent's own end.
struct Worker {
  pid_t pid = -1;
  UniqueFd in;   ///< What the job reads; closing it is the end of that.
  UniqueFd out;  ///< Frames of the job's.
};

/// Single-threaded callers only. Both ends are non-blocking.
Result<Worker> start_worker(const Job& job);

}  // namespace sluice::agent
