#include "agent/rpc/call.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace sluice::agent::rpc {

namespace {

Code code_of(StatusCode code) {
  switch (code) {
    case StatusCode::ok:
      return Code::ok;
    case StatusCode::invalid_argument:
      return Code::invalid_argument;
    case StatusCode::not_found:
      return Code::not_found;
    case StatusCode::already_exists:
      return Code::already_exists;
    case StatusCode::permission_denied:
      return Code::permission_denied;
    case StatusCode::exhausted:
      return Code::resource_exhausted;
    case StatusCode::timed_out:
      return Code::deadline_exceeded;
    case StatusCode::unsupported:
      return Code::unimplemented;
    case StatusCode::would_block:
    case StatusCode::refused:
    case StatusCode::unreachable:
    case StatusCode::closed:
      return Code::unavailable;
    case StatusCode::internal:
      break;
  }
  return Code::internal;
}

Code code_of_errno(int error) {
  switch (error) {
    case ENOENT:
    case ESRCH:
      return Code::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::permission_denied;
    case EEXIST:
      return Code::already_exists;
    case EINVAL:
    case ENAMETOOLONG:
    case E2BIG:
      return Code::invalid_argument;
    case ENOTDIR:
    case EISDIR:
    case ENOEXEC:
    case ELOOP:
    case EBUSY:
      return Code::failed_precondition;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case ENOSPC:
    case EDQUOT:
      return Code::resource_exhausted;
    default:
      return Code::internal;
  }
}

}  // namespace

CallError CallError::of(const Status& status) {
  return {.code = code_of(status.code()), .message = status.message()};
}

CallError CallError::from_errno(int error, std::string step) {
  return {.code = code_of_errno(error),
          .message = fmt::format("{}: {}", step, std::strerror(error)),
          .error = error,
          .step = std::move(step)};
}

void Methods::add(std::string_view service, std::string_view method, MethodInfo info) {
  auto begun = std::make_shared<std::uint64_t>(0);
  begun_[fmt::format("{}/{}", service, method)] = begun;
  info.begin = [begun, why = why_held_back(service), begin = std::move(info.begin)](
                   Call& call, ConstBytes request) -> std::unique_ptr<Handler> {
    ++*begun;
    if (why->empty()) return begin(call, request);
    call.fail({.code = Code::unavailable, .message = *why});
    return nullptr;
  };
  services_[std::string(service)][std::string(method)] = std::move(info);
}

std::shared_ptr<std::string> Methods::why_held_back(std::string_view service) {
  auto found = held_back_.find(service);
  if (found == held_back_.end()) {
    found = held_back_.emplace(service, std::make_shared<std::string>()).first;
  }
  return found->second;
}

void Methods::hold_back(std::string_view service, std::string why) {
  *why_held_back(service) = std::move(why);
}

std::vector<std::pair<std::string, std::uint64_t>> Methods::calls() const {
  std::vector<std::pair<std::string, std::uint64_t>> calls;
  for (const auto& [method, begun] : begun_) calls.emplace_back(method, *begun);
  return calls;
}

const MethodInfo* Methods::find(std::string_view service, std::string_view method) const {
  auto methods = services_.find(std::string(service));
  if (methods == services_.end()) return nullptr;
  auto found = methods->second.find(std::string(method));
  return found == methods->second.end() ? nullptr : &found->second;
}

bool Methods::has_service(std::string_view service) const {
  return services_.count(std::string(service)) > 0;
}

}  // namespace sluice::agent::rpc
