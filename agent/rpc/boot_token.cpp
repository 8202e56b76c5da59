#include "agent/rpc/boot_token.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace sluice::agent::rpc {

namespace {

/// As a lower-case hex digit; 0 where it is none.
char hex_digit(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) return c;
  return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : '\0';
}

}  // namespace

Result<BootToken> BootToken::parse(std::string_view text) {
  std::string line(kWord);
  for (char c : text) line.push_back(hex_digit(c));
  line.push_back('\n');
  if (text.size() != kDigits || line.find('\0') != std::string::npos) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("a token has {} hex digits: openssl rand -hex 32", kDigits));
  }
  return BootToken(std::move(line));
}

Result<BootToken> BootToken::read(const std::string& path) {
  constexpr mode_t kOthers = 0077;
  // Of a FIFO that nobody writes to, an open would wait.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return Status::from_errno(errno, "open " + path);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return Status::from_errno(errno, "stat " + path);
  if (!S_ISREG(info.st_mode)) {
    return Status(StatusCode::invalid_argument, path + " is no regular file");
  }
  if ((info.st_mode & kOthers) != 0 || (info.st_uid != ::geteuid() && info.st_uid != 0)) {
    return Status(
        StatusCode::permission_denied,
        fmt::format("{} has mode {:04o} and user {}: it is to be the user's own, or root's, and "
                    "for nobody else to read: chmod 600",
                    path, info.st_mode & 07777, info.st_uid));
  }
  std::array<char, kDigits + 2> text{};
  ssize_t size = ::read(fd.get(), text.data(), text.size());
  if (size < 0) return Status::from_errno(errno, "read " + path);
  std::string_view digits(text.data(), static_cast<std::size_t>(size));
  if (digits.ends_with('\n')) digits.remove_suffix(1);
  auto token = parse(digits);
  std::fill(text.begin(), text.end(), '\0');
  if (!token) return Status(token.status().code(), path + ": " + token.status().message());
  return token;
}

bool BootToken::matches(ConstBytes line) const {
  if (line.size() != line_.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    difference |= static_cast<unsigned>(line[i] ^ static_cast<std::uint8_t>(line_[i]));
  }
  return difference == 0;
}

}  // namespace sluice::agent::rpc
