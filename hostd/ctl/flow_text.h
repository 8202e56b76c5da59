#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace sluice::ctl {

/// Columns of a terminal that has no end.
inline constexpr std::size_t kNoWidth = static_cast<std::size_t>(-1);

/// A page of flows as a table: with guest, address and rule where `width` columns are enough for
/// that; else without, and long names cut at their beginning, so that no line is broken.
std::string flow_table(const nlohmann::json& page, std::size_t width);
/// All that is known of one flow, a line each.
std::string flow_details(const nlohmann::json& flow);
/// One event in one line.
std::string event_line(const nlohmann::json& event);

}  // namespace sluice::ctl
