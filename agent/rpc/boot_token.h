#pragma once

#include <net/status.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace sluice::agent::rpc {

/// What a client on TCP shows, so that it isn't anybody who happens to have the gateway's address:
/// 32 bytes that the guest got on its kernel's command line and the host keeps. On the wire it is a
/// line, and the answer is another:
///
///     client: "SLUICE-TOKEN " 64 lower-case hex digits "\n"
///     agent:  "OK\n", then ttrpc both ways; or "refused\n", and the end
///
/// Nothing that prints or logs takes one: no message of these calls has a part of it.
class BootToken {
 public:
  static constexpr std::string_view kWord = "SLUICE-TOKEN ";
  static constexpr std::size_t kDigits = 64;
  static constexpr std::size_t kLineBytes = kWord.size() + kDigits + 1;
  static constexpr std::string_view kPassed = "OK\n";
  static constexpr std::string_view kRefused = "refused\n";

  /// 64 hex digits of either case; invalid_argument.
  static Result<BootToken> parse(std::string_view text);
  /// A regular file with the digits and at most a line end, which nobody but its owner may read or
  /// write (mode 0600 or less), and whose owner is this user or root. permission_denied, not_found.
  static Result<BootToken> read(const std::string& path);

  /// What the client says.
  const std::string& line() const { return line_; }
  /// 64 hex digits, lower-case.
  std::string digits() const { return line_.substr(kWord.size(), kDigits); }
  /// Whether it is that line. Takes as long whichever byte is wrong.
  bool matches(ConstBytes line) const;

 private:
  explicit BootToken(std::string line) : line_(std::move(line)) {}

  std::string line_;
};

}  // namespace sluice::agent::rpc
