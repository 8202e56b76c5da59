#include "agent/container/json.h"
#include "agent/container/spec.h"

namespace sluice::agent {

namespace {

json_t* mount_json(const ContainerMount& mount) {
  json_t* object = json_object();
  json_put_number(object, "kind", static_cast<std::uint64_t>(mount.kind));
  json_put(object, "source", mount.source);
  json_put(object, "target", mount.target);
  json_put_bool(object, "read_only", mount.read_only);
  json_put_number(object, "size", mount.size);
  return object;
}

json_t* limits_json(const ContainerLimits& limits) {
  json_t* object = json_object();
  json_put_number(object, "memory", limits.memory);
  json_put_number(object, "memory_swap", limits.memory_swap);
  json_put_number(object, "cpu_millis", limits.cpu_millis);
  json_put_number(object, "cpu_weight", limits.cpu_weight);
  json_put(object, "cpus", limits.cpus);
  json_put_number(object, "pids", limits.pids);
  json_put_number(object, "io_weight", limits.io_weight);
  return object;
}

json_t* map_json(const std::map<std::string, std::string>& map) {
  json_t* object = json_object();
  for (const auto& [name, value] : map) json_put(object, name.c_str(), value);
  return object;
}

/// One of an enum's values, or the first where it is none.
template <typename Enum>
Enum get_enum(const json_t* object, const char* name, Enum last) {
  std::int64_t number = json_get_number(object, name);
  if (number < 0 || number > static_cast<std::int64_t>(last)) return Enum{};
  return static_cast<Enum>(number);
}

std::vector<ContainerMount> mounts_of(const json_t* array) {
  std::vector<ContainerMount> mounts;
  for (std::size_t i = 0; i < json_array_size(array); ++i) {
    const json_t* one = json_array_get(array, i);
    mounts.push_back({.kind = get_enum(one, "kind", ContainerMount::Kind::virtiofs),
                      .source = json_get_text(one, "source"),
                      .target = json_get_text(one, "target"),
                      .read_only = json_get_bool(one, "read_only"),
                      .size = json_get_count(one, "size")});
  }
  return mounts;
}

ContainerLimits limits_of(const json_t* object) {
  return {.memory = json_get_count(object, "memory"),
          .memory_swap = json_get_count(object, "memory_swap"),
          .cpu_millis = json_get_count(object, "cpu_millis"),
          .cpu_weight = json_get_count(object, "cpu_weight"),
          .cpus = json_get_text(object, "cpus"),
          .pids = json_get_count(object, "pids"),
          .io_weight = json_get_count(object, "io_weight")};
}

}  // namespace

std::string to_json(const ContainerSpec& spec) {
  Json root = json_object_new();
  json_t* object = root.get();
  json_put(object, "id", spec.id);
  json_put(object, "name", spec.name);
  json_put(object, "image", spec.image);
  json_put(object, "image_id", spec.image_id);
  json_put(object, "rootfs", spec.rootfs);
  json_put(object, "layers", spec.layers);
  json_put(object, "args", spec.args);
  json_put(object, "env", spec.env);
  json_put(object, "cwd", spec.cwd);
  json_put(object, "user", spec.user);
  json_put(object, "hostname", spec.hostname);
  if (spec.terminal) {
    json_put_number(object, "rows", spec.terminal->rows);
    json_put_number(object, "columns", spec.terminal->columns);
  }
  json_put_bool(object, "terminal", spec.terminal.has_value());
  json_put_bool(object, "open_stdin", spec.open_stdin);
  json_put_bool(object, "read_only", spec.read_only);
  json_t* mounts = json_array();
  for (const ContainerMount& mount : spec.mounts) json_array_append_new(mounts, mount_json(mount));
  json_put(object, "mounts", mounts);
  json_put(object, "limits", limits_json(spec.limits));
  json_put(object, "capabilities", spec.capabilities);
  json_put_bool(object, "no_new_privileges", spec.no_new_privileges);
  json_put_number(object, "restart", static_cast<std::uint64_t>(spec.restart.kind));
  json_put_number(object, "restart_most", spec.restart.most);
  json_put_number(object, "stop_signal", static_cast<std::uint64_t>(spec.stop_signal));
  json_put(object, "stop_timeout_ns", json_integer(spec.stop_timeout_ns));
  json_put(object, "labels", map_json(spec.labels));
  json_put(object, "network", to_string(spec.network));
  json_put(object, "aliases", spec.aliases);
  json_put_number(object, "log_file_bytes", spec.log_file_bytes);
  json_put_number(object, "log_files", spec.log_files);
  json_put_number(object, "log_format", static_cast<std::uint64_t>(spec.log_format));
  json_put_bool(object, "auto_remove", spec.auto_remove);
  json_put_bool(object, "all_devices", spec.all_devices);
  json_put(object, "dns", spec.dns);
  json_put(object, "dns_search", spec.dns_search);
  json_put(object, "created_at_ns", json_integer(spec.created_at_ns));
  return json_text(object);
}

Result<ContainerSpec> parse_spec(std::string_view text) {
  Json root = json_parse(text);
  const json_t* object = root.get();
  ContainerSpec spec;
  spec.id = json_get_text(object, "id");
  spec.name = json_get_text(object, "name");
  if (!is_container_name(spec.id) || !is_container_name(spec.name)) {
    return Status(StatusCode::invalid_argument, "no container's journal");
  }
  spec.image = json_get_text(object, "image");
  spec.image_id = json_get_text(object, "image_id");
  spec.rootfs = json_get_text(object, "rootfs");
  spec.layers = json_get_list(object, "layers");
  spec.args = json_get_list(object, "args");
  spec.env = json_get_list(object, "env");
  spec.cwd = json_get_text(object, "cwd");
  spec.user = json_get_text(object, "user");
  spec.hostname = json_get_text(object, "hostname");
  if (json_get_bool(object, "terminal")) {
    spec.terminal = {.rows = static_cast<std::uint16_t>(json_get_count(object, "rows")),
                     .columns = static_cast<std::uint16_t>(json_get_count(object, "columns"))};
  }
  spec.open_stdin = json_get_bool(object, "open_stdin");
  spec.read_only = json_get_bool(object, "read_only");
  spec.mounts = mounts_of(json_object_get(object, "mounts"));
  spec.limits = limits_of(json_object_get(object, "limits"));
  spec.capabilities = json_get_list(object, "capabilities");
  spec.no_new_privileges = json_get_bool(object, "no_new_privileges");
  spec.restart = {.kind = get_enum(object, "restart", RestartPolicy::Kind::always),
                  .most = static_cast<std::uint32_t>(json_get_count(object, "restart_most"))};
  std::uint64_t signal = json_get_count(object, "stop_signal");
  if (signal >= 1 && signal <= 64) spec.stop_signal = static_cast<int>(signal);
  spec.stop_timeout_ns = json_get_number(object, "stop_timeout_ns");
  spec.labels = json_get_map(object, "labels");
  spec.network = parse_network(json_get_text(object, "network")).value_or(ContainerNetwork::none);
  spec.aliases = json_get_list(object, "aliases");
  spec.log_file_bytes = json_get_count(object, "log_file_bytes");
  spec.log_files = static_cast<std::uint32_t>(json_get_count(object, "log_files"));
  spec.log_format = get_enum(object, "log_format", LogFormat::json);
  spec.auto_remove = json_get_bool(object, "auto_remove");
  spec.all_devices = json_get_bool(object, "all_devices");
  spec.dns = json_get_list(object, "dns");
  spec.dns_search = json_get_list(object, "dns_search");
  spec.created_at_ns = json_get_number(object, "created_at_ns");
  return spec;
}

}  // namespace sluice::agent
