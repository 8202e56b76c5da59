#include "hostd/ctl/commands.h"

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "hostd/ctl/flow_text.h"
#include "hostd/ctl/table.h"
#include "hostd/ctl/text.h"

namespace sluice::ctl {

namespace {

using nlohmann::json;

int fail(const Status& status) {
  std::fprintf(stderr, "hostctl: %s\n", status.message().c_str());
  return 1;
}

void print_status(const json& status) {
  print(fmt::format("{}\n", text(status["name"])));
  print(fmt::format("  policy   {}\n", text(status["policy"])));
  print(
      fmt::format("  guest    {}, {}\n", text(status["guest"]["v4"]), text(status["guest"]["v6"])));
  print(fmt::format("  gateway  {}, {}\n", text(status["gateway"]["v4"]),
                    text(status["gateway"]["v6"])));
  print(fmt::format("  flows    {} tcp, {} udp, {} icmp; {} waiting for the host\n",
                    text(status["flows"]["tcp"]), text(status["flows"]["udp"]),
                    text(status["flows"]["icmp"]), text(status["held_syns"])));
  print(fmt::format("  sent     {} in {} frames\n", bytes(status["tx_bytes"].get<std::uint64_t>()),
                    text(status["tx_frames"])));
  print(fmt::format("  received {} in {} frames\n", bytes(status["rx_bytes"].get<std::uint64_t>()),
                    text(status["rx_frames"])));
  print(fmt::format("  dns      {} queries\n", text(status["dns_queries"])));
  print(fmt::format("  denied   {} (hostctl events says what)\n", text(status["denials"])));
  for (const auto& [cause, count] : status["drops"].items()) {
    print(fmt::format("  dropped  {} {}\n", text(count), cause));
  }
}

void print_names(const json& names) {
  Table table({"NAME", "ADDRESS", "EXPIRES"});
  for (const json& one : names) {
    table.add({text(one["name"]), text(one["address"]),
               one["in_use"].get<bool>() ? "in use" : text(one["expires_in_s"]) + " s"});
  }
  print(table.to_string("no names are bound: the guest has looked none up"));
}

void print_ports(const json& ports) {
  Table table({"HOST", "GUEST PORT", "PROTO"});
  for (const json& port : ports) {
    std::string host = port.contains("unix")
                           ? text(port["unix"])
                           : fmt::format("{}:{}", text(port["host"]), text(port["host_port"]));
    table.add({host, text(port["guest_port"]), text(port["proto"])});
  }
  print(table.to_string("no ports are published"));
}

void print_policy(const json& policy) {
  Table table({"#", "RULE", "FROM"});
  int number = 0;
  for (const json& rule : policy["rules"]) {
    table.add({std::to_string(++number), text(rule["text"]), place_of(rule)});
  }
  print(table.to_string("no rules"));
  print(fmt::format("else {} egress, {} ingress; names {}\n", text(policy["default"]["egress"]),
                    text(policy["default"]["ingress"]),
                    policy["names_resolve"].get<bool>() ? "resolve" : "do not resolve"));
  for (const json& warning : policy["warnings"]) print(fmt::format("warning: {}\n", text(warning)));
}

void print_judgement(const json& judgement) {
  print(fmt::format("  {:<5}  {}", text(judgement["verdict"]), text(judgement["subject"])));
  if (!judgement["names"].empty()) print(fmt::format(" ({})", joined(judgement["names"])));
  const json& rule = judgement["rule"];
  if (rule.is_null()) {
    print(fmt::format(": {}\n", text(judgement["reason"])));
  } else {
    print(fmt::format(": rule {} ({})\n", text(rule["text"]), place_of(rule)));
  }
  if (judgement["name_is_decisive"].get<bool>() && judgement["verdict"] == "allow") {
    print("         the name in the first bytes (TLS SNI, HTTP Host) has to match as well\n");
  }
}

void print_check(const json& answer) {
  print(fmt::format("{}\n", text(answer["verdict"])));
  if (!answer["lookup"].is_null()) print_judgement(answer["lookup"]);
  for (const json& flow : answer["flows"]) print_judgement(flow);
  if (answer.contains("note")) print(fmt::format("  note   {}\n", text(answer["note"])));
}

/// As lines that a config file's list takes.
void print_learned(const json& report) {
  std::string state = report["active"].get<bool>() ? "learning" : "not learning";
  print(fmt::format("# {}: what {}\n", state,
                    report["mode"] == "everything" ? "a policy without rules would have refused"
                                                   : "the policy refused"));
  for (const json& item : report["rules"]) {
    std::string why = fmt::format("seen {}", text(item["seen"]));
    if (item.contains("note")) why += "; " + text(item["note"]);
    print(fmt::format("{:<50} # {}\n", "\"" + text(item["rule"]) + "\",", why));
  }
  if (auto lost = report["overflow"].get<std::uint64_t>(); lost > 0) {
    print(fmt::format("# {} more lookups and flows were too many to record\n", lost));
  }
}

/// What hostd keeps of them.
constexpr std::uint64_t kEventsKept = 4096;

void print_event(const json& event) {
  print(event_line(event) + "\n");
  std::fflush(stdout);
}

/// Columns of the terminal that standard output is; a pipe or a file takes lines of any length.
std::size_t output_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) != 1) return kNoWidth;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

int Commands::show(const Result<json>& answer, const Print& print_answer) {
  if (!answer) return fail(answer.status());
  if (output_ == Output::json) {
    print(answer->dump(2) + "\n");
  } else if (print_answer) {
    print_answer(*answer);
  }
  return 0;
}

int Commands::status() {
  return show(client_.get("/v1/status"), print_status);
}

int Commands::flows(const FlowsShown& shown) {
  std::string path = fmt::format("/v1/flows?limit={}&after={}", shown.limit, shown.after);
  if (!shown.to.empty()) path += "&to=" + encoded(shown.to);
  if (!shown.proto.empty()) path += "&proto=" + encoded(shown.proto);
  if (!shown.direction.empty()) path += "&direction=" + encoded(shown.direction);
  std::size_t width = shown.is_wide ? kNoWidth : output_width();
  return show(client_.get(path), [width](const json& page) { print(flow_table(page, width)); });
}

int Commands::show_flow(std::uint64_t id) {
  return show(client_.get(fmt::format("/v1/flows/{}", id)),
              [](const json& flow) { print(flow_details(flow)); });
}

int Commands::reset_flows(const std::vector<std::uint64_t>& ids) {
  int status = 0;
  for (std::uint64_t id : ids) {
    int one = show(client_.remove(fmt::format("/v1/flows/{}", id)), [](const json& answer) {
      if (!answer["was_open"].get<bool>()) {
        print(fmt::format("flow {} had ended already\n", text(answer["id"])));
      }
    });
    status = std::max(status, one);
  }
  return status;
}

int Commands::names() {
  return show(client_.get("/v1/names"), print_names);
}

int Commands::forget_name(const std::string& name) {
  return show(client_.remove("/v1/names?name=" + encoded(name)));
}

int Commands::ports() {
  return show(client_.get("/v1/ports"), print_ports);
}

int Commands::add_port(const std::string& spec) {
  return show(client_.put("/v1/ports", {{"spec", spec}}), print_ports);
}

int Commands::remove_port(const std::string& spec, bool reset_flows) {
  std::string path = "/v1/ports?spec=" + encoded(spec);
  return show(client_.remove(path + (reset_flows ? "&flows=reset" : "")));
}

int Commands::policy() {
  return show(client_.get("/v1/policy"), print_policy);
}

int Commands::set_policy(const std::vector<std::string>& rules,
                         const std::vector<std::string>& presets, const std::string& profile) {
  json body{{"rules", rules}, {"presets", presets}};
  if (!profile.empty()) body["profile"] = profile;
  return show(client_.put("/v1/policy", body), print_policy);
}

int Commands::check_policy(const std::string& question) {
  auto answer = client_.get("/v1/policy/check?q=" + encoded(question));
  int status = show(answer, print_check);
  return status == 0 && (*answer)["verdict"] != "allow" ? 1 : status;
}

int Commands::start_learning(bool refused_only) {
  json body{{"mode", refused_only ? "refused" : "everything"}};
  return show(client_.put("/v1/policy/learn", body));
}

int Commands::stop_learning() {
  return show(client_.remove("/v1/policy/learn"), print_learned);
}

int Commands::learned() {
  return show(client_.get("/v1/policy/learn"), print_learned);
}

int Commands::events(const EventsShown& shown) {
  std::string path = "/v1/events?";
  if (shown.follows) path += "follow=1&";
  if (!shown.kind.empty()) path += "event=" + encoded(shown.kind) + "&";
  if (!shown.layer.empty()) path += "layer=" + encoded(shown.layer) + "&";
  if (!shown.to.empty()) path += "to=" + encoded(shown.to) + "&";
  if (shown.since) path += fmt::format("after={}&", *shown.since);
  // A stream begins with all that there are; a page has less room.
  if (shown.limit > 0) path += fmt::format("limit={}", shown.limit);
  if (shown.limit == 0 && !shown.follows) path += fmt::format("limit={}", kEventsKept);
  if (!shown.follows) {
    return show(client_.get(path), [](const json& page) {
      for (const json& event : page["events"]) print_event(event);
    });
  }
  Output output = output_;
  Status status = client_.follow(path, [output](std::string_view name, std::string_view data) {
    if (name == "missed") {
      std::fprintf(stderr, "hostctl: %.*s events are gone: they came too fast\n",
                   static_cast<int>(data.size()), data.data());
      return true;
    }
    json event = json::parse(data, nullptr, false);
    if (event.is_discarded()) return true;
    if (output == Output::json) {
      print(event.dump() + "\n");
      std::fflush(stdout);
    } else {
      print_event(event);
    }
    return true;
  });
  return status ? 0 : fail(status);
}

}  // namespace sluice::ctl
