#pragma once

#include <sys/socket.h>

#include <optional>

#include <net/address.h>

namespace sluice {

/// An Endpoint as the kernel takes it.
class SocketAddress {
 public:
  SocketAddress() = default;
  /// `link`: the index of the interface that a link-local address of IPv6 is meant on (RFC 4007
  /// section 6), without which the kernel takes none.
  explicit SocketAddress(const Endpoint& endpoint, unsigned link = 0);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage_); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  /// Of the address held; what the kernel may fill is capacity().
  socklen_t size() const { return size_; }
  static constexpr socklen_t capacity() { return sizeof(sockaddr_storage); }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// Nothing for families other than IPv4 and IPv6.
std::optional<Endpoint> to_endpoint(const sockaddr* address);
/// As getsockname() and getpeername() tell it; nothing if they fail or for a Unix socket.
std::optional<Endpoint> local_endpoint(int fd);
std::optional<Endpoint> peer_endpoint(int fd);

int address_family(Family family);

/// setsockopt() of an int. False if the kernel refused it.
bool set_option(int fd, int level, int name, int value);

}  // namespace sluice
