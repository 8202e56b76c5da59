#pragma once

#include <net/address.h>

#include <map>
#include <mutex>
#include <string>

namespace sluice::hostd {

/// Which container of the guest has an address, as the guest's agent tells it. The agent is in the
/// guest's hands: the names are for people, and no rule is decided by them. Any thread.
class ContainerNames {
 public:
  void replace(std::map<IpAddress, std::string> names);
  /// Empty: no container that is known has it.
  std::string name_of(const IpAddress& address) const;

 private:
  mutable std::mutex mutex_;
  std::map<IpAddress, std::string> names_;
};

}  // namespace sluice::hostd
