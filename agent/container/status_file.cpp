#include "agent/container/status_file.h"

#include <algorithm>
#include <climits>

#include "agent/container/json.h"

namespace sluice::agent {

namespace {

int get_int(const json_t* object, const char* name) {
  return static_cast<int>(std::clamp<std::int64_t>(json_get_number(object, name), 0, INT_MAX));
}

}  // namespace

std::string to_json(const ContainerStatus& status) {
  Json root = json_object_new();
  json_put(root.get(), "pid", json_integer(status.pid));
  json_put(root.get(), "shim_pid", json_integer(status.shim_pid));
  json_put_bool(root.get(), "started", status.started);
  json_put(root.get(), "started_at_ns", json_integer(status.started_at_ns));
  if (status.exit) {
    json_t* exit = json_object();
    json_put(exit, "code", json_integer(status.exit->code));
    json_put(exit, "signal", json_integer(status.exit->signal));
    json_put_bool(exit, "oom", status.exit->oom);
    json_put(exit, "at_ns", json_integer(status.exit->at_ns));
    json_put(exit, "error", status.exit->error);
    json_put(exit, "error_number", json_integer(status.exit->error_number));
    json_put_bool(exit, "lost", status.exit->lost);
    json_put(root.get(), "exit", exit);
  }
  return json_text(root.get()) + "\n";
}

Result<ContainerStatus> parse_status(std::string_view text) {
  Json root = json_parse(text);
  if (!json_is_object(root.get())) {
    return Status(StatusCode::invalid_argument, "no container's status");
  }
  ContainerStatus status{.pid = get_int(root.get(), "pid"),
                         .shim_pid = get_int(root.get(), "shim_pid"),
                         .started = json_get_bool(root.get(), "started"),
                         .started_at_ns = json_get_number(root.get(), "started_at_ns"),
                         .exit = std::nullopt};
  const json_t* exit = json_object_get(root.get(), "exit");
  if (json_is_object(exit)) {
    status.exit = {.code = get_int(exit, "code"),
                   .signal = get_int(exit, "signal"),
                   .oom = json_get_bool(exit, "oom"),
                   .at_ns = json_get_number(exit, "at_ns"),
                   .error = json_get_text(exit, "error"),
                   .error_number = get_int(exit, "error_number"),
                   .lost = json_get_bool(exit, "lost")};
  }
  return status;
}

}  // namespace sluice::agent
