#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <net/status.h>

#include "agent/ports/socket_diag.h"

namespace sluice::agent {

/// Network namespaces whose ports are watched, by name; who runs containers tells of theirs.
class PortNamespaces {
 public:
  /// `path`: /proc/PID/ns/net, or where it is mounted.
  void add(const std::string& name, const std::string& path) { paths_[name] = path; }
  void remove(const std::string& name) { paths_.erase(name); }
  const std::map<std::string, std::string>& paths() const { return paths_; }

 private:
  std::map<std::string, std::string> paths_;
};

/// A port as it is told of; sockets that share one (SO_REUSEPORT) are one.
struct WatchedPort {
  std::string netns;  ///< "": the agent's own.
  Protocol protocol = Protocol::tcp;
  Endpoint at;
  std::uint32_t uid = 0;

  auto key() const { return std::tie(netns, protocol, at, uid); }
  friend bool operator<(const WatchedPort& a, const WatchedPort& b) { return a.key() < b.key(); }
};

struct PortChange {
  std::vector<WatchedPort> added;
  std::vector<WatchedPort> removed;
};

/// What changed in the open ports of some namespaces since it was asked last. A namespace that
/// goes, or is another one under the same path, is let go. One thread.
class PortWatch {
 public:
  /// Ports at once; more are not seen.
  static constexpr std::size_t kMaxPorts = 32768;

  /// `others` outlives it. Fails where the agent's own namespace can't be listed, or one of
  /// `asked` (paths, which are the names too) can't be opened.
  static Result<PortWatch> open(const PortNamespaces& others,
                                const std::vector<std::string>& asked);

  /// At most `most` ports of each kind; the rest comes with the next call.
  PortChange change(std::size_t most);

 private:
  struct Place {
    SocketDiag diag;
    std::string path;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
  };

  explicit PortWatch(const PortNamespaces& others, SocketDiag own)
      : others_(&others), own_(std::move(own)) {}
  Status enter(const std::string& name, const std::string& path);
  void follow_others();
  std::set<WatchedPort> now();

  const PortNamespaces* others_;
  SocketDiag own_;
  std::map<std::string, std::string> asked_;
  std::map<std::string, Place> places_;
  std::set<WatchedPort> told_;
};

}  // namespace sluice::agent
