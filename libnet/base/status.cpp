#include <net/status.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace sluice {

namespace {

StatusCode code_of(int error) {
  switch (error) {
    case 0:
      return StatusCode::ok;
    case EINVAL:
    case EAFNOSUPPORT:
    case ENAMETOOLONG:
      return StatusCode::invalid_argument;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case EADDRNOTAVAIL:
      return StatusCode::not_found;
    case EEXIST:
    case EADDRINUSE:
      return StatusCode::already_exists;
    case EPERM:
    case EACCES:
      return StatusCode::permission_denied;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
    case EDQUOT:
      return StatusCode::exhausted;
    case EAGAIN:
    case EINPROGRESS:
      return StatusCode::would_block;
    case ETIMEDOUT:
      return StatusCode::timed_out;
    case ECONNREFUSED:
    case ECONNRESET:
      return StatusCode::refused;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
      return StatusCode::unreachable;
    case EPIPE:
      return StatusCode::closed;
    case ENOTSUP:
    case ENOSYS:
      return StatusCode::unsupported;
    default:
      return StatusCode::internal;
  }
}

}  // namespace

Status Status::from_errno(int error, std::string_view what) {
  return Status(code_of(error), fmt::format("{}: {}", what, std::strerror(error)));
}

}  // namespace sluice
