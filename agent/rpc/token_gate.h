#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include <net/address.h>

#include "agent/rpc/boot_token.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice::agent::rpc {

/// Connections that have not shown the token yet. Where there are more the oldest is refused, so
/// that who only holds connections open keeps nobody out.
inline constexpr std::size_t kMaxUnproven = 16;
/// How long one may take to show it.
inline constexpr Duration kTokenTime = std::chrono::seconds(10);

/// Lets connections through that come from where they may, and show the token first (BootToken has
/// how). Of the others none is told why: they get the one word, and the end. Until a connection is
/// through it costs its descriptor and the bytes of one line, and nothing of it is decoded.
///
/// Each is in the log with its reason, a line a second at most, and counted. One thread.
class TokenGate {
 public:
  struct Counters {
    std::uint64_t passed = 0;
    std::uint64_t wrong_address = 0;
    std::uint64_t wrong_token = 0;
    std::uint64_t late = 0;       ///< Gone or silent before the line was whole.
    std::uint64_t displaced = 0;  ///< By newer ones.
  };
  /// Whether somebody with this address may knock.
  using Admits = std::function<bool(const IpAddress& peer)>;
  /// The descriptor is what take() was given, with nothing read beyond the line.
  using OnPassed = std::function<void(UniqueFd fd)>;

  TokenGate(Loop& loop, BootToken token, Admits admits, OnPassed on_passed);
  TokenGate(const TokenGate&) = delete;
  TokenGate& operator=(const TokenGate&) = delete;

  /// A connection of TCP, non-blocking.
  void take(UniqueFd fd);

  const Counters& counters() const { return counters_; }

 private:
  struct Entrant {
    UniqueFd fd;
    std::string peer;
    std::array<std::uint8_t, BootToken::kLineBytes> line{};
    std::size_t size = 0;
    std::unique_ptr<Timer> deadline;
    std::unique_ptr<FdWatch> watch;  // After the descriptor: it ends before its own.
  };
  using Place = std::list<Entrant>::iterator;

  void on_readable(Place entrant);
  void refuse(Place entrant, std::uint64_t& counter, std::string_view why);
  void turn_away(const UniqueFd& fd, std::string_view peer, std::uint64_t& counter,
                 std::string_view why);

  Loop& loop_;
  BootToken token_;
  Admits admits_;
  OnPassed on_passed_;
  std::list<Entrant> entrants_;  ///< The oldest first.
  Counters counters_;
  std::optional<TimePoint> told_;  ///< When the last line was logged.
  std::uint64_t untold_ = 0;       ///< Refusals since.
};

/// The address of a peer on TCP as it would write it itself: a v4-mapped one is IPv4. Nothing where
/// it has gone.
std::optional<Endpoint> tcp_peer(int fd);

}  // namespace sluice::agent::rpc
