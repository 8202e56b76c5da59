#include "base/posix_address.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace sluice {

SocketAddress::SocketAddress(const Endpoint& endpoint, unsigned link) {
  auto bytes = endpoint.address.bytes();
  if (endpoint.address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port.value());
    std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&storage_, &v4, sizeof v4);
    size_ = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    if (endpoint.address.is_link_local()) v6.sin6_scope_id = link;
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port.value());
    std::memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&storage_, &v6, sizeof v6);
    size_ = sizeof v6;
  }
}

std::optional<Endpoint> to_endpoint(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    return Endpoint{IpAddress::v4(ntohl(v4.sin_addr.s_addr)), Port(ntohs(v4.sin_port))};
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return Endpoint{IpAddress::v6(bytes), Port(ntohs(v6.sin6_port))};
  }
  return std::nullopt;
}

std::optional<Endpoint> local_endpoint(int fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::capacity();
  if (::getsockname(fd, address.get(), &size) != 0) return std::nullopt;
  return to_endpoint(address.get());
}

std::optional<Endpoint> peer_endpoint(int fd) {
  SocketAddress address;
  socklen_t size = SocketAddress::capacity();
  if (::getpeername(fd, address.get(), &size) != 0) return std::nullopt;
  return to_endpoint(address.get());
}

int address_family(Family family) {
  return family == Family::v4 ? AF_INET : AF_INET6;
}

bool set_option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

}  // namespace sluice
