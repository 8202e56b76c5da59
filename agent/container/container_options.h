#pragma once

#include <net/address.h>

#include <string>
#include <vector>

namespace sluice::agent {

/// Where containers live.
struct ContainerOptions {
  std::string runtime = "/usr/bin/crun";
  std::string state = "/run/sluice";
  std::string data = "/var/lib/sluice";
  std::string cgroup_root = "/sys/fs/cgroup";
  std::vector<IpPrefix> prefixes;  ///< Of the bridge; none: there is no bridge.
  std::string shim = "/proc/self/exe";
};

}  // namespace sluice::agent
