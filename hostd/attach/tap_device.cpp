#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/log.h"
#include "hostd/attach/tap_port.h"

namespace sluice::hostd {

namespace {

constexpr const char* kDevice = "/dev/net/tun";

/// Builds the errors of one --tap.
class TapError {
 public:
  TapError(const std::string& name, const std::string& netns)
      : flag_(fmt::format("--tap {}{}{}", name, netns.empty() ? "" : "@", netns)) {}
  Status operator()(StatusCode code, const std::string& why) const {
    return Status(code, fmt::format("{}: {}", flag_, why));
  }
  Status from_errno(int error, const std::string& why) const {
    return Status::from_errno(error, fmt::format("{}: {}", flag_, why));
  }

 private:
  std::string flag_;
};

std::string netns_path(const std::string& netns) {
  if (netns[0] == '/') return netns;
  bool is_pid =
      std::all_of(netns.begin(), netns.end(), [](char c) { return c >= '0' && c <= '9'; });
  return is_pid ? fmt::format("/proc/{}/ns/net", netns) : "/run/netns/" + netns;
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1));
  return request;
}

Status set_up(const std::string& name, std::uint16_t mtu, const TapError& error) {
  UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return error.from_errno(errno, "make a socket to configure it");
  ifreq request = request_for(name);
  request.ifr_mtu = mtu;
  if (::ioctl(control.get(), SIOCSIFMTU, &request) != 0) {
    return error.from_errno(errno, fmt::format("set its MTU to {} (--mtu)", mtu));
  }
  request = request_for(name);
  if (::ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) {
    return error.from_errno(errno, "read its flags");
  }
  request.ifr_flags |= IFF_UP;
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) {
    return error.from_errno(errno, "bring it up");
  }
  return Status::ok();
}

/// In the network namespace of the calling thread.
/// Asks for a header of 12 bytes in little-endian and as much offload as the kernel has; nothing
/// where it refuses the header. Offloads are of the interface: what an earlier owner had is undone.
Result<TapDevice> with_header(UniqueFd fd) {
  TapDevice tap{.fd = std::move(fd), .has_header = true, .offloads = {}};
  int size = link::VirtioNetHeader::kSize, little_endian = 1;
  if (::ioctl(tap.fd.get(), TUNSETVNETHDRSZ, &size) != 0) {
    return Status::from_errno(errno, "set the size of its virtio_net_hdr");
  }
  // Big-endian machines only would need it, and not all kernels have it.
  static_cast<void>(::ioctl(tap.fd.get(), TUNSETVNETLE, &little_endian));
  constexpr unsigned kTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  constexpr unsigned kUdp = 0x20 | 0x40;  // TUN_F_USO4 and TUN_F_USO6, Linux 6.2
  for (unsigned offloads : {kTcp | kUdp, kTcp, static_cast<unsigned>(TUN_F_CSUM), 0U}) {
    if (::ioctl(tap.fd.get(), TUNSETOFFLOAD, offloads) != 0) continue;
    bool tcp = (offloads & TUN_F_TSO4) != 0, udp = (offloads & kUdp) != 0;
    tap.offloads = {.checksum = (offloads & TUN_F_CSUM) != 0,
                    .tcp4 = tcp,
                    .tcp6 = tcp,
                    .tcp_ecn = tcp,
                    .udp4 = udp,
                    .udp6 = udp};
    break;
  }
  log(LogLevel::info, "tap: virtio_net_hdr, offloads: {}", to_string(tap.offloads));
  return tap;
}

bool has_headers(int control) {
  unsigned features = 0;
  return ::ioctl(control, TUNGETFEATURES, &features) == 0 && (features & IFF_VNET_HDR) != 0;
}

Result<TapDevice> open_here(const std::string& name, std::uint16_t mtu, const TapError& error) {
  UniqueFd tap(::open(kDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap) {
    switch (errno) {
      case ENOENT:
      case ENODEV:
      case ENXIO:
        return error(StatusCode::not_found,
                     fmt::format("there is no {}: load the tun module, or give this container the "
                                 "device",
                                 kDevice));
      case EACCES:
      case EPERM:
        return error(StatusCode::permission_denied,
                     fmt::format("not allowed to open {}: start hostd as root", kDevice));
      default:
        return error.from_errno(errno, fmt::format("open {}", kDevice));
    }
  }
  ifreq request = request_for(name);
  bool headers = has_headers(tap.get());
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (headers ? IFF_VNET_HDR : 0));
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
    switch (errno) {
      case EBUSY:
        return error(StatusCode::already_exists,
                     "another process uses this tap: stop it, or choose another name");
      case EINVAL:
        return error(StatusCode::already_exists,
                     "there is an interface of this name that is no tap with one queue: choose "
                     "another name");
      case EPERM:
        return error(StatusCode::permission_denied,
                     "not allowed to open it: start hostd as root, or make the tap for this user "
                     "(ip tuntap add NAME mode tap user USER)");
      default:
        return error.from_errno(errno, "open the tap");
    }
  }
  if (Status status = set_up(name, mtu, error); !status) return status;
  if (!headers) return TapDevice{.fd = std::move(tap), .has_header = false, .offloads = {}};
  auto device = with_header(std::move(tap));
  if (!device) return error(device.status().code(), device.status().message());
  return device;
}

}  // namespace

Result<TapDevice> open_tap(const std::string& name, const std::string& netns, std::uint16_t mtu) {
  TapError error(name, netns);
  if (netns.empty()) return open_here(name, mtu, error);
  std::string path = netns_path(netns);
  UniqueFd ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ns) {
    int reason = errno;
    if (reason != ENOENT) return error.from_errno(reason, fmt::format("open {}", path));
    return error(StatusCode::not_found,
                 fmt::format("there is no network namespace {}: give a name that `ip netns` lists, "
                             "a path or a pid",
                             path));
  }
  Result<TapDevice> result = Status(StatusCode::internal, "not run");
  // A thread of its own, as a namespace is left only by ending.
  std::thread([&] {
    if (::setns(ns.get(), CLONE_NEWNET) == 0) {
      result = open_here(name, mtu, error);
    } else if (errno == EINVAL) {
      result = error(StatusCode::invalid_argument, path + " is no network namespace");
    } else if (errno == EPERM) {
      result = error(StatusCode::permission_denied,
                     fmt::format("not allowed to enter {}: start hostd as root", path));
    } else {
      result = error.from_errno(errno, fmt::format("enter {}", path));
    }
  }).join();
  return result;
}

bool is_tun(int fd) {
  ifreq request{};
  // A tun that has no interface yet says EBADFD; anything else does not know the question.
  return ::ioctl(fd, TUNGETIFF, &request) == 0 || errno == EBADFD;
}

Result<TapDevice> adopt_tap(UniqueFd fd) {
  auto bad = [](const char* why) { return Status(StatusCode::invalid_argument, why); };
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0) {
    return bad("is /dev/net/tun without an interface: attach it first (TUNSETIFF)");
  }
  if ((request.ifr_flags & IFF_TAP) == 0) {
    return bad("is a tun, which has no Ethernet: open it with IFF_TAP");
  }
  if ((request.ifr_flags & IFF_NO_PI) == 0) {
    return bad("is a tap with packet information: open it with IFF_NO_PI");
  }
  if ((request.ifr_flags & IFF_VNET_HDR) != 0) return with_header(std::move(fd));
  return TapDevice{.fd = std::move(fd), .has_header = false, .offloads = {}};
}

}  // namespace sluice::hostd
