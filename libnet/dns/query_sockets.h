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
/// waits a moment for another question, so that a guest that asks much pays for a send and a
/// receive and not for the making of a socket too.
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

  /// Without a handler; nothing where no socket could be had.
  std::optional<Socket> take(Family family);
  /// Takes back one whose question is answered. Only if no other datagram and no error came to it.
  void give_back(Socket socket);

 private:
  std::vector<Socket>& idle(Family family) { return idle_[family == Family::v4 ? 0 : 1]; }
  bool is_old(const Socket& socket) const { return loop_.now() - socket.opened >= kMostAge; }
  void close_old();

  Loop& loop_;
  HostNet& host_;
  const RandomSource& random_;
  std::array<std::vector<Socket>, 2> idle_;
  std::unique_ptr<Timer> timer_;  ///< Runs while any waits.
};

}  // namespace sluice::dns
