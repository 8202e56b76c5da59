#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/container/spec.h"
#include "agent/process/identity.h"

namespace sluice::agent {

/// What a runtime's config.json needs besides the container's own.
struct OciPlace {
  std::string rootfs;  ///< As the VM sees it.
  std::string cgroup;  ///< From the hierarchy's root on: "/sluice/ID".
  Identity identity;   ///< Whose the program is.
  bool filter = true;  ///< Its system calls are filtered (seccomp.h).
  /// That filter as CompiledFilters has it; "" is none, and the runtime compiles it.
  std::string compiled_filter = {};
  /// Files of the VM that the container sees in the place of its own: {source, target}.
  std::vector<std::pair<std::string, std::string>> files;
};

/// config.json (OCI runtime specification 1.0).
std::string oci_config(const ContainerSpec& spec, const OciPlace& place);

/// A process of `crun exec --process`.
struct OciProcess {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd = "/";
  std::optional<TerminalSize> terminal;
  Identity identity;
};
std::string oci_process(const ContainerSpec& spec, const OciProcess& process);

/// With PATH, HOME, HOSTNAME and (of a terminal) TERM where `env` has none.
std::vector<std::string> with_usual_env(std::vector<std::string> env, const Identity& identity,
                                        const std::string& hostname, bool terminal);

}  // namespace sluice::agent
