#include "agent/archive/stream.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace sluice::agent {

Result<std::size_t> FdSource::read(Bytes into) {
  for (;;) {
    ssize_t got = ::read(fd_, into.data(), into.size());
    int error = errno;
    // Looked at after an end too: who stops us closes the stream, and that is not its end.
    if (stopped_ && stopped_()) return given_up();
    if (got >= 0) return static_cast<std::size_t>(got);
    if (error != EINTR) return os_error(error, "read");
  }
}

Status FdSink::write(ConstBytes from) {
  while (!from.empty()) {
    ssize_t written = ::write(fd_, from.data(), from.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return os_error(errno, "write");
    from = from.subspan(static_cast<std::size_t>(written));
  }
  return Status::ok();
}

Result<std::size_t> FileRangeSource::read(Bytes into) {
  std::size_t size = std::min<std::uint64_t>(into.size(), left_);
  if (size == 0) return std::size_t{0};
  for (;;) {
    ssize_t got = ::pread(fd_, into.data(), size, static_cast<off_t>(offset_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return os_error(errno, "read");
    if (got == 0) return Status(StatusCode::invalid_argument, "a file has become shorter");
    offset_ += static_cast<std::uint64_t>(got);
    left_ -= static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  }
}

Status Allowance::take(std::uint64_t bytes) {
  if (bytes > left_) {
    return Status(StatusCode::exhausted,
                  fmt::format("it unpacks to more than {} bytes, the limit", most_));
  }
  left_ -= bytes;
  return stopped_ && stopped_() ? given_up() : Status::ok();
}

Status given_up() {
  return Status(StatusCode::closed, "it was given up");
}

Result<std::size_t> MeteredSource::read(Bytes into) {
  auto got = below_.read(into);
  if (!got) return got;
  if (Status status = allowance_.take(*got); !status) return status;
  return got;
}

Status read_exactly(Source& source, Bytes into, const char* what) {
  while (!into.empty()) {
    auto got = source.read(into);
    if (!got) return got.status();
    if (*got == 0) {
      return Status(StatusCode::invalid_argument, fmt::format("the stream ends within {}", what));
    }
    into = into.subspan(*got);
  }
  return Status::ok();
}

Status drain(Source& source) {
  std::vector<std::uint8_t> piece(kPieceBytes);
  for (;;) {
    auto got = source.read(piece);
    if (!got) return got.status();
    if (*got == 0) return Status::ok();
  }
}

Status os_error(int error, const std::string& what) {
  StatusCode code = StatusCode::internal;
  switch (error) {
    case ENOENT:
      code = StatusCode::not_found;
      break;
    case EEXIST:
    case ENOTEMPTY:
      code = StatusCode::already_exists;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = StatusCode::permission_denied;
      break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      code = StatusCode::exhausted;
      break;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EXDEV:
      code = StatusCode::invalid_argument;
      break;
    case ENOSYS:
    case EOPNOTSUPP:
      code = StatusCode::unsupported;
      break;
    default:
      break;
  }
  return Status(code, fmt::format("{}: {}", what, std::strerror(error)));
}

}  // namespace sluice::agent
