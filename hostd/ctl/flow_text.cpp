#include "hostd/ctl/flow_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <vector>

#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using nlohmann::json;

/// What the guest calls the other end: what it said itself, else the name bound last, else nothing.
std::string name_of(const json& flow) {
  if (std::string said = text(flow["server_name"]); !said.empty()) return said;
  return flow["names"].empty() ? "" : text(flow["names"].front());
}

/// From the colon on; of ICMP nothing.
std::string port_of(const json& flow) {
  std::string remote = text(flow["remote"]);
  return flow["proto"] == "icmp" ? "" : remote.substr(remote.rfind(':'));
}

std::string arrow(const json& flow) {
  return flow["direction"] == "egress" ? "-> " : "<- ";
}

/// The end of a name says whose it is, so the beginning goes.
std::string cut(const std::string& host, std::size_t room) {
  if (host.size() <= room) return host;
  constexpr std::string_view kCut = "..";
  std::size_t kept = room > kCut.size() ? room - kCut.size() : 0;
  return std::string(kCut) + host.substr(host.size() - kept);
}

std::vector<std::string> amounts(const json& flow) {
  return {text(flow["state"]), short_time(flow["age_s"].get<double>()),
          short_time(flow["idle_s"].get<double>()),
          short_bytes(flow["tx_bytes"].get<std::uint64_t>()),
          short_bytes(flow["rx_bytes"].get<std::uint64_t>())};
}

std::string rule_of(const json& one) {
  const json& rule = one["decided_by"];
  return rule.is_null() ? text(one["rule"])
                        : fmt::format("{} ({})", text(rule["text"]), place_of(rule));
}

std::string wide_table(const json& flows) {
  Table table({"ID", "PROTO", "GUEST", "REMOTE", "STATE", "AGE", "IDLE", "SENT", "RCVD", "RULE"},
              {0, 5, 6, 7, 8});
  for (const json& flow : flows) {
    std::string remote = arrow(flow) + text(flow["remote"]);
    if (std::string name = name_of(flow); !name.empty()) remote += fmt::format(" ({})", name);
    std::vector<std::string> row{text(flow["id"]), text(flow["proto"]), text(flow["guest"]),
                                 remote};
    for (std::string& amount : amounts(flow)) row.push_back(std::move(amount));
    row.push_back(rule_of(flow));
    table.add(std::move(row));
  }
  return table.to_string("");
}

/// With `room` columns for the other end.
std::string narrow_table(const json& flows, std::size_t room) {
  Table table({"ID", "PROTO", "REMOTE", "STATE", "AGE", "IDLE", "SENT", "RCVD"}, {0, 4, 5, 6, 7});
  for (const json& flow : flows) {
    std::string host = name_of(flow);
    std::string port = port_of(flow);
    if (host.empty()) {
      host = text(flow["remote"]);
      host.resize(host.size() - port.size());
    }
    std::size_t taken = arrow(flow).size() + port.size();
    std::vector<std::string> row{text(flow["id"]), text(flow["proto"]),
                                 arrow(flow) + cut(host, room > taken ? room - taken : 0) + port};
    for (std::string& amount : amounts(flow)) row.push_back(std::move(amount));
    table.add(std::move(row));
  }
  return table.to_string("");
}

std::size_t longest_line(const std::string& lines) {
  std::size_t longest = 0;
  for (std::size_t begin = 0; begin < lines.size();) {
    std::size_t end = std::min(lines.find('\n', begin), lines.size());
    longest = std::max(longest, end - begin);
    begin = end + 1;
  }
  return longest;
}

/// With milliseconds where they matter.
std::string duration(double seconds) {
  return seconds < 10 ? fmt::format("{:.3f}s", seconds) : short_time(seconds);
}

std::string clock_of(std::int64_t nanoseconds) {
  std::time_t seconds = nanoseconds / 1'000'000'000;
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char clock[16];
  std::strftime(clock, sizeof clock, "%H:%M:%S", &local);
  return fmt::format("{}.{:03}", clock, nanoseconds / 1'000'000 % 1000);
}

}  // namespace

std::string flow_table(const json& page, std::size_t width) {
  const json& flows = page["flows"];
  if (flows.empty()) return "no open flows\n";
  std::string table = wide_table(flows);
  bool is_narrow = longest_line(table) > width;
  if (is_narrow) {
    constexpr std::size_t kLeast = 20;
    std::size_t least_width = longest_line(narrow_table(flows, kLeast));
    std::size_t more = width - std::min(width, least_width);
    table = narrow_table(flows, kLeast + more);
  }
  if (auto rest = page["rest"].get<std::uint64_t>(); rest > 0) {
    table += fmt::format("and {} more: --after {}\n", rest, text(flows.back()["id"]));
  }
  if (is_narrow) table += "hostctl flows show ID prints the rule; --wide all columns\n";
  return table;
}

std::string flow_details(const json& flow) {
  bool is_egress = flow["direction"] == "egress";
  std::string out = fmt::format("flow {}: {} {}, {}\n", text(flow["id"]), text(flow["proto"]),
                                text(flow["direction"]), text(flow["state"]));
  auto line = [&](const char* what, const std::string& value) {
    if (!value.empty()) out += fmt::format("  {:<9} {}\n", what, value);
  };
  line(is_egress ? "from" : "to", text(flow["guest"]));
  line(is_egress ? "to" : "from", text(flow["remote"]));
  line("names", joined(flow["names"]));
  line("said", text(flow["server_name"]));
  line("age", fmt::format("{:.3f} s, idle for {:.3f} s", flow["age_s"].get<double>(),
                          flow["idle_s"].get<double>()));
  line("sent", bytes(flow["tx_bytes"].get<std::uint64_t>()));
  line("received", bytes(flow["rx_bytes"].get<std::uint64_t>()));
  line("allowed", fmt::format("by {} of policy {}", rule_of(flow), text(flow["generation"])));
  return out;
}

std::string event_line(const json& event) {
  std::string container = text(event.value("container", json("")));
  if (!container.empty()) container = fmt::format(" [{}]", container);
  std::string line =
      fmt::format("{}  {:<7}  {:<12} ", clock_of(event["time_ns"].get<std::int64_t>()),
                  text(event["event"]), text(event["layer"]));
  if (!event["flow"].is_null()) line += fmt::format("#{} ", text(event["flow"]));
  if (event["layer"] == "dns") {
    line += fmt::format("{} by {}", joined(event["names"]), text(event["source"]));
    line += container;
  } else {
    line += fmt::format("{} {} -> {}", text(event["proto"]), text(event["source"]),
                        text(event["destination"]));
    if (!event["names"].empty()) line += fmt::format(" ({})", joined(event["names"]));
    line += container;
  }
  if (std::string said = text(event["server_name"]); !said.empty()) line += " for " + said;
  if (event["event"] == "closed") {
    line += fmt::format("  {}, sent {}, received {}: {}",
                        duration(event["duration_ns"].get<double>() / 1e9),
                        short_bytes(event["tx_bytes"].get<std::uint64_t>()),
                        short_bytes(event["rx_bytes"].get<std::uint64_t>()), text(event["reason"]));
  } else {
    line += fmt::format("  {}: {}", text(event["rule"]), text(event["reason"]));
  }
  if (event["fatal"].get<bool>()) line += " (fatal)";
  if (auto more = event["suppressed"].get<std::uint64_t>(); more > 0) {
    line += fmt::format(" (and {} more like it)", more);
  }
  return line;
}

}  // namespace sluice::ctl
