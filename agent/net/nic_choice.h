#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/net/netlink_types.h"

namespace sluice::agent {

/// Where the kernel tells of devices; another root in tests.
inline constexpr const char* kSysClassNet = "/sys/class/net";

/// The links that can be the guest's NIC, best first: Ethernet links with a device behind them, so
/// never loopback, dummy, veth, bridge, VLAN, tun or tunnels. Those of the driver virtio_net come
/// before others, unless they are up and have no carrier; otherwise the lower index wins. Names
/// mean nothing. `sys_class_net` is read (NAME/device, NAME/device/driver).
std::vector<Link> nic_candidates(const std::vector<Link>& links, const std::string& sys_class_net);

/// The name of the driver of a link's device; empty where there is no device or it has none.
std::string driver_of(const std::string& link_name, const std::string& sys_class_net);

}  // namespace sluice::agent
