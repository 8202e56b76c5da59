#include "agent/container/seccomp.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "agent/container/json.h"
#include "agent/os/text.h"

namespace sluice::agent {

namespace {

#if defined(__aarch64__)
constexpr const char* kArchitectures[] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#else
constexpr const char* kArchitectures[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#endif

constexpr std::string_view kNamespaces = "CAP_SYS_ADMIN";

/// Calls, separated by spaces, and the capability whose holder may make them.
struct Group {
  std::string_view capability;
  std::string_view calls;
};

constexpr Group kGroups[] = {
    {kNamespaces,
     "unshare setns mount umount umount2 pivot_root move_mount mount_setattr open_tree fsopen "
     "fsconfig fsmount fspick quotactl quotactl_fd swapon swapoff lookup_dcookie nfsservctl"},
    // Of the kernel as a whole, whoever asks.
    {kNamespaces,
     "add_key request_key keyctl userfaultfd io_uring_setup io_uring_enter io_uring_register "
     "uselib ustat sysfs _sysctl vm86 vm86old"},
    {"CAP_SYS_MODULE",
     "init_module finit_module delete_module create_module query_module get_kernel_syms"},
    {"CAP_SYS_BOOT", "reboot kexec_load kexec_file_load"},
    {"CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
    {"CAP_SYS_RAWIO", "iopl ioperm"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_BPF", "bpf"},
    {"CAP_PERFMON", "perf_event_open"},
    {"CAP_SYSLOG", "syslog"},
    {"CAP_SYS_NICE", "migrate_pages move_pages"},
};

json_t* rule_of(json_t* names, int error) {
  json_t* rule = json_object();
  json_put(rule, "names", names);
  json_put(rule, "action", "SCMP_ACT_ERRNO");
  json_put_number(rule, "errnoRet", static_cast<std::uint64_t>(error));
  return rule;
}

json_t* one_name(const char* name) {
  json_t* names = json_array();
  json_array_append_new(names, json_string(name));
  return names;
}

/// clone() with the flag, which is in its first argument on these machines.
json_t* clone_rule(std::uint64_t flag) {
  json_t* argument = json_object();
  json_put_number(argument, "index", 0);
  json_put_number(argument, "value", flag);
  json_put_number(argument, "valueTwo", flag);
  json_put(argument, "op", "SCMP_CMP_MASKED_EQ");
  json_t* arguments = json_array();
  json_array_append_new(arguments, argument);
  json_t* rule = rule_of(one_name("clone"), EPERM);
  json_put(rule, "args", arguments);
  return rule;
}

}  // namespace

json_t* seccomp_json(const std::vector<std::string>& capabilities) {
  auto has = [&capabilities](std::string_view name) {
    return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
  };
  json_t* names = json_array();
  for (const Group& group : kGroups) {
    if (has(group.capability)) continue;
    std::string_view rest = group.calls;
    while (!rest.empty()) {
      json_array_append_new(names, json_string_of(take_part(rest, ' ')));
    }
  }
  if (json_array_size(names) == 0) {
    json_decref(names);
    return nullptr;
  }
  json_t* rules = json_array();
  json_array_append_new(rules, rule_of(names, EPERM));
  if (!has(kNamespaces)) {
    for (int flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                     CLONE_NEWPID, CLONE_NEWNET}) {
      json_array_append_new(rules, clone_rule(static_cast<std::uint64_t>(flag)));
    }
    json_array_append_new(rules, rule_of(one_name("clone3"), ENOSYS));
  }
  json_t* architectures = json_array();
  for (const char* one : kArchitectures) json_array_append_new(architectures, json_string(one));
  json_t* filter = json_object();
  json_put(filter, "defaultAction", "SCMP_ACT_ALLOW");
  json_put(filter, "architectures", architectures);
  json_put(filter, "syscalls", rules);
  return filter;
}

}  // namespace sluice::agent
