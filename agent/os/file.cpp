#include "agent/os/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kReadBytes = 4096;

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return Status::from_errno(errno, "write " + path);
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return Status::ok();
}

}  // namespace

std::optional<std::string> read_file(const std::string& path, std::size_t most) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  for (;;) {
    std::size_t size = text.size();
    text.resize(size + kReadBytes);
    ssize_t got = ::read(fd.get(), &text[size], kReadBytes);
    text.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return text;
    if (text.size() > most) {
      errno = EFBIG;
      return std::nullopt;
    }
  }
}

std::string read_line(const std::string& path) {
  std::string text = read_file(path).value_or("");
  return text.substr(0, text.find('\n'));
}

Status write_file(const std::string& path, std::string_view text, unsigned mode) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return Status::from_errno(errno, "open " + path);
  return write_all(fd.get(), text, path);
}

Status replace_file(const std::string& path, std::string_view text, unsigned mode) {
  std::string beside = path + ".new";
  if (Status status = write_file(beside, text, mode); !status) return status;
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    int error = errno;
    ::unlink(beside.c_str());
    return Status::from_errno(error, fmt::format("rename {} to {}", beside, path));
  }
  return Status::ok();
}

Status make_directories(const std::string& path, unsigned mode) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos;
       end = path.find('/', end + 1)) {
    ::mkdir(path.substr(0, end).c_str(), 0755);
  }
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return Status::from_errno(errno, "mkdir " + path);
  }
  return Status::ok();
}

std::string random_id() {
  std::array<std::uint8_t, 16> bytes{};
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    ssize_t got = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
    if (got > 0) filled += static_cast<std::size_t>(got);
  }
  std::string text;
  for (std::uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace sluice::agent
