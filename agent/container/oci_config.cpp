#include "agent/container/oci_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/container/json.h"
#include "agent/container/seccomp.h"
#include "agent/process/spawn.h"

namespace sluice::agent {

namespace {

constexpr std::uint64_t kCpuPeriod = 100'000;  ///< Microseconds.
constexpr std::uint64_t kPerThousand = 1000;

struct StandardMount {
  const char* target;
  const char* kind;
  const char* source;
  std::vector<std::string> options;
};

std::vector<StandardMount> standard_mounts() {
  return {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
      {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
      {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
  };
}

// What shows or changes the kernel, which all containers share.
const std::vector<std::string>& masked_paths() {
  static const std::vector<std::string> paths = {"/proc/acpi",
                                                 "/proc/asound",
                                                 "/proc/bootconfig",
                                                 "/proc/cmdline",
                                                 "/proc/kcore",
                                                 "/proc/keys",
                                                 "/proc/latency_stats",
                                                 "/proc/timer_list",
                                                 "/proc/timer_stats",
                                                 "/proc/sched_debug",
                                                 "/proc/scsi",
                                                 "/sys/firmware",
                                                 "/sys/devices/virtual/powercap"};
  return paths;
}
const std::vector<std::string>& read_only_paths() {
  static const std::vector<std::string> paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};
  return paths;
}

json_t* mount_json(std::string_view target, std::string_view kind, std::string_view source,
                   const std::vector<std::string>& options) {
  json_t* object = json_object();
  json_put(object, "destination", target);
  json_put(object, "type", kind);
  json_put(object, "source", source);
  json_put(object, "options", options);
  return object;
}

json_t* mount_json(const ContainerMount& mount) {
  std::vector<std::string> options = {mount.read_only ? "ro" : "rw"};
  switch (mount.kind) {
    case ContainerMount::Kind::bind:
      options.emplace_back("rbind");
      options.emplace_back("rprivate");
      return mount_json(mount.target, "bind", mount.source, options);
    case ContainerMount::Kind::tmpfs:
      options.insert(options.end(), {"nosuid", "nodev", "mode=1777"});
      if (mount.size > 0) options.push_back(fmt::format("size={}", mount.size));
      return mount_json(mount.target, "tmpfs", "tmpfs", options);
    case ContainerMount::Kind::virtiofs:
      break;
  }
  return mount_json(mount.target, "virtiofs", mount.source, options);
}

json_t* mounts_json(const ContainerSpec& spec, const OciPlace& place) {
  json_t* array = json_array();
  for (const StandardMount& one : standard_mounts()) {
    json_array_append_new(array, mount_json(one.target, one.kind, one.source, one.options));
  }
  for (const auto& [source, target] : place.files) {
    bool is_asked_for =
        std::any_of(spec.mounts.begin(), spec.mounts.end(),
                    [&](const ContainerMount& mount) { return mount.target == target; });
    if (!is_asked_for) {
      json_array_append_new(array, mount_json(target, "bind", source, {"rbind", "rprivate", "rw"}));
    }
  }
  for (const ContainerMount& mount : spec.mounts) json_array_append_new(array, mount_json(mount));
  return array;
}

json_t* user_json(const Identity& identity) {
  json_t* user = json_object();
  json_put_number(user, "uid", identity.uid);
  json_put_number(user, "gid", identity.gid);
  json_t* groups = json_array();
  for (gid_t group : identity.groups) json_array_append_new(groups, json_integer(group));
  json_put(user, "additionalGids", groups);
  return user;
}

json_t* capabilities_json(const ContainerSpec& spec) {
  json_t* sets = json_object();
  for (const char* set : {"bounding", "effective", "permitted"}) {
    json_put(sets, set, spec.capabilities);
  }
  return sets;
}

json_t* process_json(const ContainerSpec& spec, const OciProcess& process) {
  json_t* object = json_object();
  json_put_bool(object, "terminal", process.terminal.has_value());
  if (process.terminal) {
    json_t* size = json_object();
    json_put_number(size, "height", process.terminal->rows);
    json_put_number(size, "width", process.terminal->columns);
    json_put(object, "consoleSize", size);
  }
  json_put(object, "user", user_json(process.identity));
  json_put(object, "args", process.args);
  json_put(object, "env", process.env);
  json_put(object, "cwd", process.cwd);
  json_put(object, "capabilities", capabilities_json(spec));
  json_put_bool(object, "noNewPrivileges", spec.no_new_privileges);
  return object;
}

json_t* device_rule(bool allow, const char* type, int major, int minor, const char* access) {
  json_t* rule = json_object();
  json_put_bool(rule, "allow", allow);
  json_put(rule, "type", type);
  if (major >= 0) json_put(rule, "major", json_integer(major));
  if (minor >= 0) json_put(rule, "minor", json_integer(minor));
  json_put(rule, "access", access);
  return rule;
}

/// Nodes may be made, and of those that may be used all are harmless: null, zero, full, random,
/// urandom, tty, console, ptmx and terminals.
json_t* devices_json() {
  constexpr int kMemory = 1;
  constexpr int kTty = 5;
  constexpr int kTerminals = 136;
  json_t* rules = json_array();
  json_array_append_new(rules, device_rule(false, "a", -1, -1, "rwm"));
  for (const char* type : {"c", "b"}) {
    json_array_append_new(rules, device_rule(true, type, -1, -1, "m"));
  }
  for (int minor : {3, 5, 7, 8, 9}) {
    json_array_append_new(rules, device_rule(true, "c", kMemory, minor, "rwm"));
  }
  for (int minor : {0, 1, 2}) {
    json_array_append_new(rules, device_rule(true, "c", kTty, minor, "rwm"));
  }
  json_array_append_new(rules, device_rule(true, "c", kTerminals, -1, "rwm"));
  return rules;
}

json_t* memory_json(const ContainerLimits& limits) {
  json_t* memory = json_object();
  json_put_number(memory, "limit", limits.memory);
  // In this format memory and swap together.
  json_put_number(memory, "swap", limits.memory + limits.memory_swap);
  return memory;
}

json_t* cpu_json(const ContainerLimits& limits) {
  json_t* cpu = json_object();
  if (limits.cpu_millis > 0) {
    json_put_number(cpu, "period", kCpuPeriod);
    json_put_number(cpu, "quota", limits.cpu_millis * (kCpuPeriod / kPerThousand));
  }
  if (!limits.cpus.empty()) json_put(cpu, "cpus", limits.cpus);
  return cpu;
}

json_t* resources_json(const ContainerSpec& spec) {
  const ContainerLimits& limits = spec.limits;
  json_t* resources = json_object();
  if (!spec.all_devices) json_put(resources, "devices", devices_json());
  if (limits.memory > 0) json_put(resources, "memory", memory_json(limits));
  if (limits.cpu_millis > 0 || !limits.cpus.empty()) json_put(resources, "cpu", cpu_json(limits));
  if (limits.pids > 0) {
    json_t* pids = json_object();
    json_put_number(pids, "limit", limits.pids);
    json_put(resources, "pids", pids);
  }
  json_t* unified = json_object();
  if (limits.cpu_weight > 0) {
    json_put(unified, "cpu.weight", fmt::format("{}", limits.cpu_weight));
  }
  if (limits.io_weight > 0) {
    json_put(unified, "io.weight", fmt::format("{}", limits.io_weight));
  }
  if (json_object_size(unified) > 0) {
    json_put(resources, "unified", unified);
  } else {
    json_decref(unified);
  }
  return resources;
}

json_t* namespaces_json(const ContainerSpec& spec) {
  json_t* namespaces = json_array();
  for (const char* kind : {"pid", "ipc", "uts", "mount", "cgroup", "network"}) {
    if (spec.network == ContainerNetwork::host && std::string_view(kind) == "network") continue;
    json_t* one = json_object();
    json_put(one, "type", kind);
    json_array_append_new(namespaces, one);
  }
  return namespaces;
}

}  // namespace

std::vector<std::string> with_usual_env(std::vector<std::string> env, const Identity& identity,
                                        const std::string& hostname, bool terminal) {
  auto add = [&env](std::string_view name, std::string_view value) {
    bool is_there = std::any_of(env.begin(), env.end(), [&](const std::string& one) {
      return one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=';
    });
    if (!is_there) env.push_back(fmt::format("{}={}", name, value));
  };
  add("PATH", kUsualPath);
  add("HOME", identity.home);
  add("HOSTNAME", hostname);
  if (terminal) add("TERM", "xterm");
  return env;
}

std::string oci_config(const ContainerSpec& spec, const OciPlace& place) {
  Json config = json_object_new();
  json_put(config.get(), "ociVersion", "1.0.2");
  json_put(config.get(), "process",
           process_json(spec, {.args = spec.args,
                               .env = with_usual_env(spec.env, place.identity, spec.hostname,
                                                     spec.terminal.has_value()),
                               .cwd = spec.cwd,
                               .terminal = spec.terminal,
                               .identity = place.identity}));
  json_t* root = json_object();
  json_put(root, "path", place.rootfs);
  json_put_bool(root, "readonly", spec.read_only);
  json_put(config.get(), "root", root);
  json_put(config.get(), "hostname", spec.hostname);
  json_put(config.get(), "mounts", mounts_json(spec, place));

  json_t* os = json_object();
  json_put(os, "cgroupsPath", place.cgroup);
  json_put(os, "namespaces", namespaces_json(spec));
  json_put(os, "resources", resources_json(spec));
  json_put(os, "maskedPaths", masked_paths());
  json_put(os, "readonlyPaths", read_only_paths());
  if (json_t* filter = place.filter ? seccomp_json(spec.capabilities) : nullptr) {
    json_put(os, "seccomp", filter);
    if (!place.compiled_filter.empty()) {
      json_t* annotations = json_object();
      json_put(annotations, "run.oci.seccomp_bpf_data", place.compiled_filter);
      json_put(config.get(), "annotations", annotations);
    }
  }
  json_put(config.get(), "linux", os);
  return json_text(config.get());
}

std::string oci_process(const ContainerSpec& spec, const OciProcess& process) {
  Json object(process_json(spec, process), json_decref);
  return json_text(object.get());
}

}  // namespace sluice::agent
