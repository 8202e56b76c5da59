#include "agent/ports/port_watch.h"

#include <sys/stat.h>

#include <cerrno>

namespace sluice::agent {

Result<PortWatch> PortWatch::open(const PortNamespaces& others,
                                  const std::vector<std::string>& asked) {
  auto own = SocketDiag::open();
  if (!own) return own.status();
  PortWatch watch(others, std::move(*own));
  if (auto first = watch.own_.list(); !first) return first.status();
  for (const std::string& path : asked) {
    if (Status status = watch.enter(path, path); !status) return status;
    watch.asked_[path] = path;
  }
  return watch;
}

Status PortWatch::enter(const std::string& name, const std::string& path) {
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) return Status::from_errno(errno, "open " + path);
  auto diag = SocketDiag::open_in(path);
  if (!diag) return diag.status();
  places_.emplace(name, Place{std::move(*diag), path, file.st_dev, file.st_ino});
  return Status::ok();
}

void PortWatch::follow_others() {
  for (auto at = places_.begin(); at != places_.end();) {
    const Place& place = at->second;
    auto other = others_->paths().find(at->first);
    bool wanted = asked_.count(at->first) > 0 ||
                  (other != others_->paths().end() && other->second == place.path);
    struct stat file{};
    bool same = ::stat(place.path.c_str(), &file) == 0 && file.st_dev == place.device &&
                file.st_ino == place.inode;
    at = wanted && same ? std::next(at) : places_.erase(at);
  }
  for (const auto& [name, path] : others_->paths()) {
    if (places_.count(name) > 0) continue;
    // What can't be entered may have ended already; it is tried again next time.
    [[maybe_unused]] Status status = enter(name, path);
  }
}

std::set<WatchedPort> PortWatch::now() {
  follow_others();
  std::set<WatchedPort> ports;
  auto add = [&](const std::string& name, SocketDiag& diag, const std::set<std::uint32_t>& ours) {
    auto list = diag.list();
    if (!list) return;
    for (const OpenPort& port : *list) {
      if (ports.size() >= kMaxPorts) return;
      if (ours.count(port.inode) > 0) continue;
      ports.insert({.netns = name, .protocol = port.protocol, .at = port.at, .uid = port.uid});
    }
  };
  add("", own_, own_sockets());
  for (auto& [name, place] : places_) add(name, place.diag, {});
  return ports;
}

PortChange PortWatch::change(std::size_t most) {
  PortChange change;
  std::set<WatchedPort> ports = now();
  for (const WatchedPort& port : told_) {
    if (change.removed.size() < most && ports.count(port) == 0) change.removed.push_back(port);
  }
  for (const WatchedPort& port : ports) {
    if (change.added.size() < most && told_.count(port) == 0) change.added.push_back(port);
  }
  for (const WatchedPort& port : change.removed) told_.erase(port);
  told_.insert(change.added.begin(), change.added.end());
  return change;
}

}  // namespace sluice::agent
