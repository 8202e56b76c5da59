#include "hostd/privileges.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "base/number.h"

namespace sluice::hostd {
namespace {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// `name` is a user of /etc/passwd, which is read without the C library's name services as those
/// are shared libraries of their own; or UID of one, or UID:GID.
Result<User> find_user(const std::string& name) {
  auto refuse = [&name](std::string_view why) {
    return Status(StatusCode::invalid_argument, fmt::format("--runas {}: {}", name, why));
  };
  const std::string_view text = name;
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    const auto uid = parse_number<std::uint32_t>(text.substr(0, colon));
    const auto gid = parse_number<std::uint32_t>(text.substr(colon + 1));
    if (uid && gid) return User{*uid, *gid};
    return refuse("UID:GID are two numbers");
  }
  const auto number = parse_number<std::uint32_t>(text);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/etc/passwd", "re"),
                                                             std::fclose);
  int error = file ? 0 : errno;
  std::optional<User> by_number;
  constexpr std::size_t kLongestLine = std::size_t{64} << 10;
  const auto line = std::make_unique_for_overwrite<char[]>(kLongestLine);
  passwd entry{};
  passwd* found = nullptr;
  while (error == 0 &&
         (error = ::fgetpwent_r(file.get(), &entry, line.get(), kLongestLine, &found)) == 0) {
    const User one{entry.pw_uid, entry.pw_gid};
    if (name == entry.pw_name) return one;
    if (one.uid == number && !by_number) by_number = one;
  }
  if (error != ENOENT) return refuse(fmt::format("/etc/passwd: {}", std::strerror(error)));
  if (by_number) return *by_number;
  return refuse(number ? "no user of /etc/passwd has this UID; UID:GID needs none"
                       : "no such user in /etc/passwd; UID and UID:GID are taken too");
}

}  // namespace

Status drop_privileges(const std::string& user, const std::vector<std::string>& owned) {
  if (::geteuid() != 0) {
    if (user.empty()) return Status::ok();
    return Status(StatusCode::permission_denied,
                  fmt::format("--runas {}: only root can become another user", user));
  }
  const std::string name = user.empty() ? "nobody" : user;
  const Result<User> found = find_user(name);
  if (!found) return found.status();
  // For this number setresuid(2) leaves an ID as it is.
  constexpr std::uint32_t kUnchanged = 0xffffffff;
  if (found->uid == kUnchanged || found->gid == kUnchanged) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("--runas {}: 4294967295 is no user's number", name));
  }
  if (found->uid == 0) {
    if (user == "root" || user == "0") return Status::ok();
    return Status(StatusCode::invalid_argument, fmt::format("--runas {}: is root", name));
  }
  for (const std::string& path : owned) {
    if (path.empty()) continue;
    if (::lchown(path.c_str(), found->uid, found->gid) != 0) {
      return Status::from_errno(errno, fmt::format("give {} to {}", path, name));
    }
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator(path, ignored)) {
      if (::lchown(file.path().c_str(), found->uid, found->gid) != 0) {
        return Status::from_errno(errno, fmt::format("give {} to {}", file.path().string(), name));
      }
    }
  }
  // glibc changes all threads of the process.
  if (::setgroups(0, nullptr) != 0 || ::setresgid(found->gid, found->gid, found->gid) != 0 ||
      ::setresuid(found->uid, found->uid, found->uid) != 0) {
    return Status::from_errno(errno, fmt::format("become {}", name));
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return Status::ok();
}

}  // namespace sluice::hostd
