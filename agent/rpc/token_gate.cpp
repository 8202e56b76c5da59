#include "agent/rpc/token_gate.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/posix_address.h"

namespace sluice::agent::rpc {

namespace {

constexpr Duration kBetweenLines = std::chrono::seconds(1);

/// A connection that is new has room for as much.
void say(int fd, std::string_view word) {
  [[maybe_unused]] ssize_t sent = ::send(fd, word.data(), word.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/// Whether it may still become such a line. What the word is is no secret.
bool may_be_line(ConstBytes bytes) {
  std::size_t size = std::min(bytes.size(), BootToken::kWord.size());
  return std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size),
                    BootToken::kWord.begin());
}

}  // namespace

std::optional<Endpoint> tcp_peer(int fd) {
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  auto peer = peer_endpoint(fd);
  if (!peer || peer->address.is_v4()) return peer;
  auto bytes = peer->address.bytes();
  if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
    peer->address = IpAddress::from_bytes(bytes.subspan(kMapped.size()));
  }
  return peer;
}

TokenGate::TokenGate(Loop& loop, BootToken token, Admits admits, OnPassed on_passed)
    : loop_(loop),
      token_(std::move(token)),
      admits_(std::move(admits)),
      on_passed_(std::move(on_passed)) {}

void TokenGate::take(UniqueFd fd) {
  auto peer = tcp_peer(fd.get());
  if (!peer) return;
  if (!admits_(peer->address)) {
    return turn_away(fd, peer->to_string(), counters_.wrong_address, "its address is no router's");
  }
  if (entrants_.size() >= kMaxUnproven) {
    refuse(entrants_.begin(), counters_.displaced, "too many others knock");
  }
  Place entrant = entrants_.emplace(entrants_.end());
  entrant->fd = std::move(fd);
  entrant->peer = peer->to_string();
  entrant->deadline = loop_.make_timer(
      [this, entrant] { refuse(entrant, counters_.late, "it showed no token in time"); });
  entrant->deadline->start(kTokenTime);
  entrant->watch = loop_.watch(entrant->fd.get(), {.readable = true},
                               [this, entrant](FdReady) { on_readable(entrant); });
}

void TokenGate::on_readable(Place entrant) {
  // No more than the line: what follows is for whoever is behind this.
  Bytes rest = Bytes(entrant->line).subspan(entrant->size);
  ssize_t size = ::recv(entrant->fd.get(), rest.data(), rest.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return refuse(entrant, counters_.late, "it went before it showed a token");
  entrant->size += static_cast<std::size_t>(size);
  ConstBytes line = ConstBytes(entrant->line).first(entrant->size);
  bool whole = line.size() == entrant->line.size();
  if (!may_be_line(line) || (whole && !token_.matches(line))) {
    return refuse(entrant, counters_.wrong_token, "it showed no token, or a wrong one");
  }
  if (!whole) return;
  ++counters_.passed;
  say(entrant->fd.get(), BootToken::kPassed);
  entrant->watch.reset();
  UniqueFd fd = std::move(entrant->fd);
  entrants_.erase(entrant);
  on_passed_(std::move(fd));
}

void TokenGate::refuse(Place entrant, std::uint64_t& counter, std::string_view why) {
  entrant->watch.reset();
  turn_away(entrant->fd, entrant->peer, counter, why);
  entrants_.erase(entrant);
}

void TokenGate::turn_away(const UniqueFd& fd, std::string_view peer, std::uint64_t& counter,
                          std::string_view why) {
  ++counter;
  say(fd.get(), BootToken::kRefused);
  // Where something is left unread a close is a reset, which may overtake the word.
  std::array<std::uint8_t, 4096> unread;
  [[maybe_unused]] ssize_t size = ::recv(fd.get(), unread.data(), unread.size(), MSG_DONTWAIT);
  bool is_early = told_ && loop_.now() - *told_ < kBetweenLines;
  if (is_early) {
    ++untold_;
    return;
  }
  told_ = loop_.now();
  std::string others = untold_ > 0 ? fmt::format(" (and {} more before it)", untold_) : "";
  untold_ = 0;
  log(LogLevel::warn, "agent: a connection of {} on TCP was refused: {}{}", peer, why, others);
}

}  // namespace sluice::agent::rpc
