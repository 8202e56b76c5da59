#include "agent/supervise/service_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>

#include "agent/container/json.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMaxName = 64;
constexpr std::size_t kMaxEntries = 1024;
constexpr std::int64_t kMostSeconds = 3600;

/// A word that is spelt wrong is not to be overlooked.
Status check_members(const json_t* object, const std::string& where,
                     std::initializer_list<std::string_view> known) {
  if (!json_is_object(object)) return Status::invalid_argument(where + " is no object");
  const char* key = nullptr;
  json_t* value = nullptr;
  json_object_foreach(const_cast<json_t*>(object), key, value) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return Status::invalid_argument(fmt::format("{}: there is no member '{}'", where, key));
    }
  }
  return Status::ok();
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

bool is_path(std::string_view path) {
  return path.starts_with('/') && path.find('\0') == std::string_view::npos;
}

Result<Readiness> readiness_of(const json_t* object, const std::string& where) {
  Readiness ready;
  if (!object) return ready;
  if (Status status = check_members(object, where + ": ready", {"tcp", "unix", "command"});
      !status) {
    return status;
  }
  ready.tcp = json_get_text(object, "tcp");
  ready.unix_socket = json_get_text(object, "unix");
  ready.command = json_get_list(object, "command");
  if (json_object_size(object) != 1 || !ready.any()) {
    return Status::invalid_argument(where + ": ready is one of tcp, unix and command");
  }
  return ready;
}

Result<ServiceSpec> service_of(const json_t* object, const std::string& where) {
  if (Status status = check_members(
          object, where,
          {"name", "command", "env", "cwd", "user", "after", "ready", "restart", "stop_seconds"});
      !status) {
    return status;
  }
  ServiceSpec spec{.name = json_get_text(object, "name"),
                   .command = json_get_list(object, "command"),
                   .env = json_get_map(object, "env"),
                   .user = json_get_text(object, "user"),
                   .after = json_get_list(object, "after")};
  if (!is_name(spec.name))
    return Status::invalid_argument(fmt::format("{}: '{}' is no name", where, spec.name));
  std::string named = "service " + spec.name;
  if (spec.command.empty() || spec.command[0].empty())
    return Status::invalid_argument(named + " has no command");
  if (json_object_get(object, "cwd")) spec.cwd = json_get_text(object, "cwd");
  if (!is_path(spec.cwd)) return Status::invalid_argument(named + ": cwd is no absolute path");
  auto ready = readiness_of(json_object_get(object, "ready"), named);
  if (!ready) return ready.status();
  spec.ready = std::move(*ready);
  if (std::string restart = json_get_text(object, "restart"); !restart.empty()) {
    if (restart != "always" && restart != "on-failure" && restart != "never") {
      return Status::invalid_argument(named + ": restart is always, on-failure or never");
    }
    spec.restart = restart == "always"  ? ServiceSpec::Restart::always
                   : restart == "never" ? ServiceSpec::Restart::never
                                        : ServiceSpec::Restart::on_failure;
  }
  if (json_object_get(object, "stop_seconds")) {
    spec.stop_grace = std::chrono::seconds(
        std::clamp<std::int64_t>(json_get_number(object, "stop_seconds"), 0, kMostSeconds));
  }
  return spec;
}

Result<DirectorySpec> directory_of(const json_t* object, const std::string& where) {
  if (Status status = check_members(object, where, {"path", "mode"}); !status) return status;
  DirectorySpec spec{.path = json_get_text(object, "path")};
  if (!is_path(spec.path)) return Status::invalid_argument(where + ": path is no absolute path");
  if (std::string mode = json_get_text(object, "mode"); !mode.empty()) {
    constexpr int kOctal = 8;
    constexpr unsigned kMost = 07777;
    auto bits = parse_number<unsigned>(mode, kOctal);
    if (!bits || *bits > kMost)
      return Status::invalid_argument(where + ": mode is not octal, such as \"0711\"");
    spec.mode = *bits;
  }
  return spec;
}

Result<LinkSpec> link_of(const json_t* object, const std::string& where) {
  if (Status status = check_members(object, where, {"path", "to"}); !status) return status;
  LinkSpec spec{.path = json_get_text(object, "path"), .to = json_get_text(object, "to")};
  if (!is_path(spec.path) || spec.to.empty())
    return Status::invalid_argument(where + " needs path and to");
  return spec;
}

Result<MountSpec> mount_of(const json_t* object, const std::string& where) {
  if (Status status = check_members(
          object, where, {"source", "target", "type", "options", "read_only", "optional"});
      !status) {
    return status;
  }
  MountSpec spec{.source = json_get_text(object, "source"),
                 .target = json_get_text(object, "target"),
                 .type = json_get_text(object, "type"),
                 .options = json_get_text(object, "options"),
                 .read_only = json_get_bool(object, "read_only"),
                 .optional = json_get_bool(object, "optional")};
  if (!is_path(spec.target) || spec.type.empty() || spec.source.empty()) {
    return Status::invalid_argument(where + " needs source, target and type");
  }
  return spec;
}

template <typename Spec>
Status read_all(const json_t* table, const char* member, std::vector<Spec>& into,
                Result<Spec> (*read)(const json_t*, const std::string&)) {
  const json_t* array = json_object_get(table, member);
  if (!array) return Status::ok();
  if (!json_is_array(array) || json_array_size(array) > kMaxEntries) {
    return Status::invalid_argument(
        fmt::format("{} is no array, or has more than {} elements", member, kMaxEntries));
  }
  for (std::size_t i = 0; i < json_array_size(array); ++i) {
    auto one = read(json_array_get(array, i), fmt::format("{}[{}]", member, i));
    if (!one) return one.status();
    into.push_back(std::move(*one));
  }
  return Status::ok();
}

/// Each behind all that it is after; else in the file's order.
Status put_in_order(std::vector<ServiceSpec>& services) {
  std::set<std::string> names;
  for (const ServiceSpec& one : services) {
    if (!names.insert(one.name).second)
      return Status::invalid_argument(fmt::format("{} is there twice", one.name));
  }
  for (const ServiceSpec& one : services) {
    for (const std::string& other : one.after) {
      if (!names.contains(other)) {
        return Status::invalid_argument(
            fmt::format("service {}: after '{}', which is no service", one.name, other));
      }
    }
  }
  std::set<std::string> placed;
  std::vector<ServiceSpec> ordered;
  while (ordered.size() < services.size()) {
    std::size_t before = ordered.size();
    for (const ServiceSpec& one : services) {
      bool follows = std::all_of(one.after.begin(), one.after.end(),
                                 [&](const std::string& name) { return placed.contains(name); });
      if (!follows || placed.contains(one.name)) continue;
      placed.insert(one.name);
      ordered.push_back(one);
    }
    if (ordered.size() > before) continue;
    auto stuck = std::find_if(services.begin(), services.end(),
                              [&](const auto& one) { return !placed.contains(one.name); });
    return Status::invalid_argument(
        fmt::format("service {}: what it is after comes round to it", stuck->name));
  }
  services = std::move(ordered);
  return Status::ok();
}

}  // namespace

Result<SystemTable> parse_system_table(std::string_view text) {
  Json json = json_parse(text);
  if (!json) return Status::invalid_argument("it is no JSON");
  Status status =
      check_members(json.get(), "the file", {"directories", "links", "mounts", "services"});
  SystemTable table;
  if (status) status = read_all(json.get(), "directories", table.directories, directory_of);
  if (status) status = read_all(json.get(), "links", table.links, link_of);
  if (status) status = read_all(json.get(), "mounts", table.mounts, mount_of);
  if (status) status = read_all(json.get(), "services", table.services, service_of);
  if (status && table.services.size() > kMaxServices) {
    status = Status::invalid_argument(fmt::format("there are more than {} services", kMaxServices));
  }
  if (status) status = put_in_order(table.services);
  if (!status) return status;
  return table;
}

}  // namespace sluice::agent
