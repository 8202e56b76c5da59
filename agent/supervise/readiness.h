#pragma once

#include <functional>
#include <memory>

#include "agent/process/children.h"
#include "agent/supervise/supervisor.h"
#include "base/loop.h"

namespace sluice::agent {

/// Asks once whether somebody takes a connection, or whether a command exits 0. No within a second
/// (a command: 5 s) is a no.
std::unique_ptr<Probe> ask_readiness(Loop& loop, Children& children, const Readiness& ready,
                                     std::function<void(bool)> on_answer);

}  // namespace sluice::agent
