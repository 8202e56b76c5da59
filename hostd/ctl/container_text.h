#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "agent/client/containers.h"

// Containers for people and for programs.

namespace sluice::ctl {

nlohmann::json json_of(const agent::client::ContainerInfo& info);
nlohmann::json json_of(const agent::client::ContainerDetails& details);
nlohmann::json json_of(const agent::client::ContainerExit& exit);
nlohmann::json json_of(const agent::client::ContainerStats& stats);

/// "running", "stopped (137, out of memory)"
std::string state_text(const agent::client::ContainerInfo& info);
/// "2026-01-31T10:00:00.123456789Z"
std::string time_text(std::int64_t ns);

}  // namespace sluice::ctl
