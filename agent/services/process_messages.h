#pragma once

#include "agent/process/process_table.h"
#include "sluice/agent/v1/process.pb.h"

namespace sluice::agent {

/// How it ended, for the wire. It has ended.
inline sluice_agent_v1_ExitStatus exit_message(const ProcessTable::Process& process) {
  return {.code = process.exit->code,
          .signal = process.exit->signal,
          .core_dumped = process.exit->core_dumped,
          .timed_out = process.timed_out,
          .exited_at_ns = process.exit->at_ns};
}

}  // namespace sluice::agent
