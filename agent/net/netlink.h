#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/status.h>

#include "agent/net/netlink_message.h"
#include "agent/net/netlink_types.h"
#include "base/unique_fd.h"

namespace sluice::agent {

enum class LinkState : std::uint8_t { down, up };

/// The other end of a veth pair.
struct VethPeer {
  std::string name;
  /// An open /proc/PID/ns/net in which it is to be made; -1 for our own namespace.
  int namespace_fd = -1;
};

/// Links, addresses and routes of one network namespace, by rtnetlink(7).
///
/// Every call is a question and its answer: it blocks as long as the kernel works on it, which is
/// microseconds, and never on a peer. A failure says what was tried, errno's words and, where the
/// kernel gave any, its own; nothing was changed then. Changing calls need CAP_NET_ADMIN. Interface
/// names are at most 15 bytes (IFNAMSIZ). Any one thread.
class Netlink {
 public:
  /// Of the calling thread's namespace; stays with it when the thread moves to another.
  static Result<Netlink> open();

  // Links.

  Result<std::vector<Link>> links();
  Result<Link> link(int index);  ///< not_found where there is none; likewise by name.
  Result<Link> link(std::string_view name);
  Status set_state(int index, LinkState state);
  /// Bytes. invalid_argument beyond what the driver takes.
  Status set_mtu(int index, std::uint32_t mtu);
  /// Of a link that is down, mostly.
  Status set_name(int index, std::string_view name);
  /// Makes `index` a port of `bridge`; 0 takes it out of the one that it is in.
  Status set_bridge(int index, int bridge);
  // already_exists where the name is taken.
  Status add_bridge(std::string_view name);
  Status add_veth(std::string_view name, const VethPeer& peer);
  /// Of a pair, both ends go. Links with a driver of their own can't be removed (unsupported).
  Status remove_link(int index);
  /// Moves the link into a namespace: an open /proc/PID/ns/net, or that of a process. It arrives
  /// there down and without addresses, maybe with another index.
  Status move_to_namespace(int index, int namespace_fd);
  Status move_to_namespace_of(int index, pid_t process);

  // Addresses.

  Result<std::vector<InterfaceAddress>> addresses();
  /// Adds it, or gives the one that is there these lifetimes.
  Status set_address(const InterfaceAddress& address);
  /// not_found where it isn't there. Removing the first IPv4 address of a subnet removes the
  /// others of it too, unless the sysctl promote_secondaries is on.
  Status remove_address(const InterfaceAddress& address);

  // Routes of the main table.

  Result<std::vector<Route>> routes();
  /// already_exists where one to this destination with this metric is there.
  Status add_route(const Route& route);
  /// Adds it, or puts it in the place of the one to this destination with this metric.
  Status set_route(const Route& route);
  /// not_found where it isn't there.
  Status remove_route(const Route& route);

 private:
  explicit Netlink(UniqueFd fd) : fd_(std::move(fd)) {}

  using Visit = std::function<void(const NetlinkMessage&)>;
  struct Outcome {
    NetlinkError error;
    bool overtaken = false;  ///< The kernel's tables changed while it listed them.
  };

  /// Sends the request and visits the parts of its answer up to the kernel's last word.
  Outcome exchange(NetlinkRequest& request, const Visit& visit);
  Result<std::vector<std::uint8_t>> read_answer();
  Status change(NetlinkRequest request, std::string_view what);
  template <typename T, typename Fixed, typename Parse>
  Result<std::vector<T>> dump(std::uint16_t type, const Fixed& fixed, std::string_view what,
                              Parse parse);
  Status change_link(int index, std::string_view what,
                     const std::function<void(NetlinkRequest&)>& fill);
  Status change_route(const Route& route, std::uint16_t type, std::uint16_t flags,
                      std::string_view verb);
  Result<Link> find_link(NetlinkRequest request, std::string_view what);

  UniqueFd fd_;
  std::uint32_t sequence_ = 0;
};

/// "10.0.0.2/24"
std::string to_string(const InterfaceAddress& address);
/// "0.0.0.0/0 via 10.0.0.1", "10.1.0.0/16 on the link"
std::string to_string(const Route& route);

}  // namespace sluice::agent
