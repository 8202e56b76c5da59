#include "agent/net/sysctl.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace sluice::agent {

Result<std::string> Sysctl::read(std::string_view key) const {
  UniqueFd fd(::open(path_of(key).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  if (size < 0) return Status::from_errno(errno, fmt::format("read sysctl {}", key));
  std::string value(text.data(), static_cast<std::size_t>(size));
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

Status Sysctl::write(std::string_view key, std::string_view value) const {
  auto current = read(key);
  if (current && *current == value) return Status::ok();
  UniqueFd fd(::open(path_of(key).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (!fd || ::write(fd.get(), value.data(), value.size()) < 0) {
    return Status::from_errno(errno, fmt::format("set sysctl {} to {}", key, value));
  }
  return Status::ok();
}

}  // namespace sluice::agent
