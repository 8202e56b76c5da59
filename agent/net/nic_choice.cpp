#include "agent/net/nic_choice.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <tuple>

namespace sluice::agent {
namespace {

bool has_device(const std::string& link_name, const std::string& sys_class_net) {
  struct stat info{};
  return ::stat((sys_class_net + "/" + link_name + "/device").c_str(), &info) == 0;
}

}  // namespace

std::string driver_of(const std::string& link_name, const std::string& sys_class_net) {
  std::string path = sys_class_net + "/" + link_name + "/device/driver";
  std::array<char, PATH_MAX> target;
  ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size <= 0) return {};
  std::string_view text(target.data(), static_cast<std::size_t>(size));
  return std::string(text.substr(text.find_last_of('/') + 1));
}

std::vector<Link> nic_candidates(const std::vector<Link>& links, const std::string& sys_class_net) {
  using Rank = std::tuple<bool, bool, int>;
  std::vector<std::pair<Rank, const Link*>> ranked;
  for (const Link& link : links) {
    // A bridge's or bond's port carries no addresses of its own.
    bool possible = link.ethernet && !link.loopback && link.kind.empty() && link.bridge == 0 &&
                    !link.mac.is_zero() && has_device(link.name, sys_class_net);
    if (!possible) continue;
    bool dead = link.up && !link.carrier;
    bool other_driver = driver_of(link.name, sys_class_net) != "virtio_net";
    ranked.push_back({{dead, other_driver, link.index}, &link});
  }
  std::ranges::sort(ranked, {}, &std::pair<Rank, const Link*>::first);
  std::vector<Link> best_first;
  for (const auto& [rank, link] : ranked) best_first.push_back(*link);
  return best_first;
}

}  // namespace sluice::agent
