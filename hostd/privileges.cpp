#include "hostd/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

namespace sluice::hostd {

Status drop_privileges(const std::string& user, const std::vector<std::string>& owned) {
  if (::geteuid() != 0) {
    if (user.empty()) return Status::ok();
    return Status(StatusCode::permission_denied,
                  fmt::format("--runas {}: only root can become another user", user));
  }
  const std::string name = user.empty() ? "nobody" : user;
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer;
  int error = ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (!found) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("--runas {}: no such user{}", name,
                              error == 0 ? "" : fmt::format(" ({})", std::strerror(error))));
  }
  if (entry.pw_uid == 0) {
    if (user == "root") return Status::ok();
    return Status(StatusCode::invalid_argument, fmt::format("--runas {}: is root", name));
  }
  for (const std::string& path : owned) {
    if (path.empty()) continue;
    if (::lchown(path.c_str(), entry.pw_uid, entry.pw_gid) != 0) {
      return Status::from_errno(errno, fmt::format("give {} to {}", path, name));
    }
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator(path, ignored)) {
      if (::lchown(file.path().c_str(), entry.pw_uid, entry.pw_gid) != 0) {
        return Status::from_errno(errno, fmt::format("give {} to {}", file.path().string(), name));
      }
    }
  }
  // glibc changes all threads of the process.
  if (::setgroups(0, nullptr) != 0 || ::setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid) != 0 ||
      ::setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid) != 0) {
    return Status::from_errno(errno, fmt::format("become {}", name));
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return Status::ok();
}

}  // namespace sluice::hostd
