#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/host_net.h"
#include "base/loop.h"
#include "dns/upstream_query.h"

namespace sluice::dns {

/// The UDP sockets from which resolvers are asked. One that brought its answer, and nothing else,
/// waits a moment for another question, and is closed if anything comes to it meanwhile. So a guest
/// that asks much pays for a send and a receive and not for the making of a socket too.
///
/// Questions under way never share one, and each has a port that the kernel chose at random: an
/// attacker off the path has port, id and letters to guess (RFC 5452 section 9.2). A port that he
/// found out otherwise is soon of no use: it is closed after kMostAge or kMostQuestions, and before
/// that the next question takes any of kLeastChoice or more. Where fewer wait it has a new one.
class QuerySockets {
 public:
  static constexpr Duration kMostAge = std::chrono::milliseconds(100);
  static constexpr int kMostQuestions = 32;
  static constexpr std::size_t kLeastChoice = 16;
  /// Of each family that wait at once; more are closed.
  static constexpr std::size_t kMostIdle = 64;

  struct Socket {
    std::unique_ptr<DatagramSocket> socket;
    Family family = Family::v4;
    TimePoint opened{};
    int questions = 0;  ///< With the one that it is taken for.
  };

  /// `loop`, `host` and `random` outlive it.
  QuerySockets(Loop& loop, HostNet& host, const RandomSource& random);
  ~QuerySockets();
  QuerySockets(const QuerySockets&) = delete;
  QuerySockets& operator=(const QuerySockets&) = delete;

  /// Without a handler; nothing where no socket could be had.
  std::optional<Socket> take(Family family);
  /// Takes back one whose question is answered. Only if no other datagram and no error came to it.
  void give_back(Socket socket);

 private:
  struct Waiting;
  using WaitingSockets = std::vector<std::unique_ptr<Waiting>>;

  WaitingSockets& idle(Family family) { return idle_[family == Family::v4 ? 0 : 1]; }
  /// One of them, which are not none; nothing where it was old, and is gone.
  std::optional<Socket> take_waiting(WaitingSockets& waiting);
  void close(const Waiting& socket);
  bool is_old(const Socket& socket) const { return loop_.now() - socket.opened >= kMostAge; }
  void close_old();

  Loop& loop_;
  HostNet& host_;
  const RandomSource& random_;
  std::array<WaitingSockets, 2> idle_;
  std::unique_ptr<Timer> timer_;  ///< Runs while any waits.
};

}  // namespace sluice::dns
