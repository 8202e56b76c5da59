#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <net/status.h>

namespace sluice::agent {

/// The kernel's settings below /proc/sys; another root in tests. Keys are paths, such as
/// "net/ipv4/ip_forward". Calls read and write a few bytes and don't wait.
class Sysctl {
 public:
  explicit Sysctl(std::string root = "/proc/sys") : root_(std::move(root)) {}

  /// Without the newline; not_found where the kernel has no such setting.
  Result<std::string> read(std::string_view key) const;
  /// Leaves alone what has the value already, so a read-only /proc/sys that is set right is fine.
  Status write(std::string_view key, std::string_view value) const;

 private:
  std::string path_of(std::string_view key) const { return root_ + "/" + std::string(key); }
  std::string root_;
};

}  // namespace sluice::agent
