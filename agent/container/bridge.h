#pragma once

#include <net/address.h>
#include <net/status.h>
#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "agent/net/netlink.h"

namespace sluice::agent {

/// The containers' network: a bridge that has the first address of each prefix, and for every
/// container a veth pair with addresses of its own. No NAT: the gateway routes the prefixes here,
/// and sees each container.
class Bridge {
 public:
  static constexpr const char* kName = "sluice0";

  struct Port {
    std::string link;                    ///< The bridge's end.
    std::vector<std::string> addresses;  ///< "10.88.0.2/24"
  };

  explicit Bridge(std::vector<IpPrefix> prefixes) : prefixes_(std::move(prefixes)) {}

  bool is_configured() const { return !prefixes_.empty(); }
  const std::vector<IpPrefix>& prefixes() const { return prefixes_; }
  /// The bridge's own addresses: the containers' router, and where their DNS may be served.
  std::vector<IpAddress> addresses() const;

  /// Gives the network namespace of a process an `eth0` with addresses that nobody else has, and a
  /// default route. Makes the bridge where it isn't there. exhausted: no address is left.
  Result<Port> add(pid_t process);
  /// What an agent before us gave away.
  void adopt(const Port& port);
  /// Takes the link away and the addresses back. No error where they are gone.
  void remove(const Port& port);

 private:
  Status make();
  Result<std::uint32_t> take_number();

  std::vector<IpPrefix> prefixes_;
  bool made_ = false;
  std::set<std::uint32_t> taken_;  ///< The index of an address in each prefix.
  std::uint32_t next_ = 2;
};

}  // namespace sluice::agent
