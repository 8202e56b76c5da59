#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <net/address.h>
#include <net/name.h>

#include "agent/net/dhcp_link.h"
#include "base/loop.h"
#include "wire/dhcp.h"
#include "wire/dhcp_lease.h"

// Theory of operation
//
// A DHCPv4 client (RFC 2131) for one interface. In the states of its section 4.4:
//
//            start                     OFFER
//   stopped -------> init/selecting ----------> requesting
//                        |   ^  DISCOVER            |  REQUEST, broadcast
//     ACK, Rapid Commit  |   |                      |
//         (RFC 4039)     v   | NAK, no answer       v  ACK
//                      bound <----------------------+
//                        |  T1                            ^ ACK
//                        +----> renewing  REQUEST, unicast |
//                        |          | T2                   |
//                        |          +----> rebinding  REQUEST, broadcast
//                        |                     | the lease ends, or NAK: on_lost, then init
//                        | revalidate()
//                        +----> rebooting  REQUEST, broadcast: does the address still hold?
//
// A VM waits for its network, and its server is a few microseconds away: the first message goes out
// at once (not after the 1 to 10 s of section 4.4.1), the next after 50 ms, and then each time
// doubled up to 64 s (section 4.1), with a jitter of a quarter.
//
// Who can answer: whoever is on the link. An answer counts only with our transaction id (random for
// each transaction), our hardware address, and, once there is a server, from that server by its
// identifier; an ACK to a DISCOVER only with the Rapid Commit option. The first good OFFER is
// taken.

namespace sluice::agent {

/// What a client is to ask with.
struct DhcpClientConfig {
  MacAddress mac;
  DomainName host_name;  ///< Sent as option 12; the root for none.
  /// Option 57: the longest message taken, bytes; at least 576.
  std::uint16_t max_message = 1472;
  /// 64 random bits. Empty: the kernel's; tests give their own.
  std::function<std::uint64_t()> random;
};

/// What a client tells its owner. Called on the loop's thread; the callee may call the client, but
/// not destroy it.
class DhcpClientEvents {
 public:
  /// There is a lease: a new one, or the one there was with new times, and maybe another address
  /// or other settings. Its times count from when it was asked for, just before.
  virtual void on_dhcp_bound(const wire::DhcpLease& lease) = 0;
  /// `lease` must no longer be used: it ran out, or the server took it back.
  virtual void on_dhcp_lost(const wire::DhcpLease& lease) = 0;

 protected:
  ~DhcpClientEvents() = default;
};

/// Loop thread only.
class DhcpClient {
 public:
  enum class State : std::uint8_t {
    stopped,
    selecting,   ///< INIT and SELECTING: asks who is there.
    requesting,  ///< Has taken an offer and waits for the server's word.
    rebooting,   ///< Has a lease and asks whether it still holds.
    bound,
    renewing,   ///< T1 has passed.
    rebinding,  ///< T2 has passed.
  };

  struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t send_errors = 0;
    std::uint64_t acks = 0;
    std::uint64_t naks = 0;
    std::uint64_t malformed = 0;  ///< No DHCP reply at all.
    std::uint64_t ignored = 0;    ///< A reply, but to others, late, or of another server.
    std::uint64_t refused = 0;    ///< For us, but with a lease that can't be: see DhcpLease::read.
  };

  static constexpr std::chrono::milliseconds kFirstRetry{50};
  static constexpr std::chrono::seconds kLastRetry{64};
  /// REQUESTs without an answer after which the offer is given up.
  static constexpr int kRequestTries = 5;
  /// From this DISCOVER on the broadcast flag is set: what is between us and the server may not
  /// let through what is sent to an address that nobody has yet (RFC 2131 section 4.1).
  static constexpr int kBroadcastFrom = 3;
  /// RFC 2131 section 4.4.5.
  static constexpr std::chrono::seconds kMinRenewRetry{60};

  /// `loop`, `link` and `events` must outlive it.
  DhcpClient(Loop& loop, DhcpLink& link, DhcpClientConfig config, DhcpClientEvents& events);
  ~DhcpClient();
  DhcpClient(const DhcpClient&) = delete;
  DhcpClient& operator=(const DhcpClient&) = delete;

  /// Begins to ask. Does nothing unless stopped.
  void start();
  /// Forgets the lease without telling anybody.
  void stop();
  /// Asks whether the lease still holds, for the link may be another one now: after a carrier came
  /// back or the VM was resumed. Without an answer the lease counts on as long as it was given.
  /// Without a lease, asks for one at once.
  void revalidate();

  State state() const { return state_; }
  /// Set while there is one that may be used.
  const std::optional<wire::DhcpLease>& lease() const { return lease_; }
  const Counters& counters() const { return counters_; }

 private:
  void on_message(ConstBytes bytes);
  void on_offer(const wire::DhcpView& reply);
  void on_ack(const wire::DhcpView& reply);
  void on_nak(const wire::DhcpView& reply);
  bool may_answer(const wire::DhcpView& reply) const;

  void on_timer();
  void begin(State state);
  void discover_after(Duration delay);
  void give_up_offer();
  void follow_lease();
  void lose_lease();
  void transmit();
  std::vector<std::uint8_t> make_message() const;
  Duration until(std::chrono::seconds lease_age) const;
  Duration backoff(int doublings);

  Loop& loop_;
  DhcpLink& link_;
  DhcpClientConfig config_;
  DhcpClientEvents& events_;
  std::unique_ptr<Timer> timer_;
  State state_ = State::stopped;
  Counters counters_;

  std::uint32_t transaction_ = 0;
  TimePoint asking_since_;
  int tries_ = 0;     ///< Messages of this state.
  int failures_ = 0;  ///< NAKs and dead offers since there was a lease.
  bool broadcast_ = false;
  std::optional<wire::DhcpLease> offer_;
  std::optional<wire::DhcpLease> lease_;
  TimePoint lease_began_;  ///< When the message that got it was sent (RFC 2131 section 4.4.1).
  TimePoint last_sent_;
};

/// "selecting" and so on, as in the specification.
std::string_view to_string(DhcpClient::State state);

}  // namespace sluice::agent
