#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace sluice {

/// What kind of failure a `Status` reports. Values are part of the C ABI (`sluice_status`).
enum class StatusCode : int {
  ok = 0,
  invalid_argument = 1,  ///< The caller's value can't be used; the message names it and the fix.
  not_found = 2,         ///< What was named does not exist.
  already_exists = 3,    ///< What was to be made is there already (a bound port, a second Network).
  permission_denied = 4,  ///< The operating system refused.
  exhausted = 5,          ///< A limit was reached: descriptors, memory, a disk's room, a table.
  would_block = 6,        ///< Nothing could be done now; a wake follows when it can.
  timed_out = 7,
  refused = 8,       ///< The peer answered no (ECONNREFUSED, RST).
  unreachable = 9,   ///< No way to the peer (EHOSTUNREACH, ENETUNREACH).
  closed = 10,       ///< The other side is gone, or the object was stopped.
  unsupported = 11,  ///< This kernel, build or attachment can't do it.
  internal = 12,     ///< A fault of ours.
};

/// Outcome of an operation: ok, or a code with a sentence for a person. Cheap to move.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status ok() { return {}; }
  static Status invalid_argument(std::string message) {
    return Status(StatusCode::invalid_argument, std::move(message));
  }
  /// Wraps an errno value: `what` says what was tried, e.g. "bind 127.0.0.1:80".
  static Status from_errno(int error, std::string_view what);

  bool is_ok() const { return code_ == StatusCode::ok; }
  explicit operator bool() const { return is_ok(); }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

/// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : state_(std::move(status)) {}  // NOLINT: implicit by design

  bool is_ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return is_ok(); }

  /// Requires is_ok().
  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  T* operator->() { return &std::get<T>(state_); }
  const T* operator->() const { return &std::get<T>(state_); }
  T& operator*() { return std::get<T>(state_); }
  const T& operator*() const { return std::get<T>(state_); }

  /// ok() where there is a value.
  Status status() const { return is_ok() ? Status::ok() : std::get<Status>(state_); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace sluice
