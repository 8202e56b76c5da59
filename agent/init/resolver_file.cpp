#include "agent/init/resolver_file.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::agent {

namespace {

constexpr std::size_t kMaxResolvers = 3;

}  // namespace

std::string resolver_text(const NetworkState& network, const std::optional<IpAddress>& own) {
  std::string text;
  if (!network.search.empty()) {
    text += "search";
    for (const DomainName& name : network.search) text += fmt::format(" {}", name.text());
    text += "\n";
  }
  if (own) return text + fmt::format("nameserver {}\noptions edns0\n", own->to_string());
  std::size_t count = std::min(network.dns_servers.size(), kMaxResolvers);
  for (std::size_t i = 0; i < count; ++i) {
    const IpAddress& server = network.dns_servers[i];
    // An address of the link means nothing without its interface.
    bool is_on_link = server.is_v6() && server.is_link_local();
    text += fmt::format("nameserver {}{}\n", server.to_string(),
                        is_on_link ? "%" + network.interface : "");
  }
  return text;
}

}  // namespace sluice::agent
