#include "hostd/guest/container_names.h"

#include <utility>

namespace sluice::hostd {

void ContainerNames::replace(std::map<IpAddress, std::string> names) {
  std::lock_guard lock(mutex_);
  names_ = std::move(names);
}

std::string ContainerNames::name_of(const IpAddress& address) const {
  std::lock_guard lock(mutex_);
  auto found = names_.find(address);
  return found == names_.end() ? "" : found->second;
}

}  // namespace sluice::hostd
