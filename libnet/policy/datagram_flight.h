#pragma once

#include <cstdint>
#include <optional>

#include <net/name.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "policy/first_flight.h"
#include "wire/quic_hello.h"

namespace sluice::policy {

/// Judges what a guest sends from one UDP port to one server by the names in its QUIC hellos, on
/// whatever port: FirstFlight's counterpart. QUIC's Initials are encrypted under keys that follow
/// from the packet itself, so they can be read.
///
///     no long header                  let go: DTLS, WireGuard, DNS, or QUIC past its handshake
///     part of a hello                 held until the hello is whole
///     a hello                         judged by its name, like a second one after a retry; with
///                                     AllowedName::awaits_server held until confirm()
///     an unknown version, a hello that can't be read for certain     unidentified
///
/// Pure: what is held is the caller's.
class DatagramFlight {
 public:
  DatagramFlight(const FirstFlightOptions& options, FirstFlight::Judge judge)
      : options_(options), judge_(std::move(judge)) {}

  enum class Step : std::uint8_t {
    pass,  ///< To the server, after what is held of the same connection.
    hold,  ///< Until a datagram of the same connection passes.
    drop,  ///< It belongs to no connection that was judged; the guest sends it again.
    deny,  ///< denial() says why; what is held of the connection goes as well.
  };
  struct Outcome {
    Step step = Step::pass;
    std::uint32_t connection = 0;  ///< 0: to none that is known.
  };
  /// The guest's next datagram.
  Outcome judge(ConstBytes datagram, TimePoint now);

  /// What is held waits for too long: pass or deny.
  Step give_up(std::string_view reason);

  /// The name that the rules allow and that waits for the caller. One at a time: hellos with others
  /// are dropped, for the guest to send again.
  const std::optional<DomainName>& unconfirmed() const { return unconfirmed_; }
  /// Its connection, whose held datagrams may pass. Requires unconfirmed().
  std::uint32_t confirm();
  /// Likewise, of which they may not; denial() says why. `decider` outlives this.
  std::uint32_t refuse(std::string reason, std::string_view decider);

  /// The last name that was allowed.
  const std::optional<DomainName>& name() const { return name_; }
  const FirstFlightDenial& denial() const { return denial_; }

 private:
  Step judge_hello(std::uint32_t connection);
  Step unidentified(std::string reason);
  Step deny(FirstFlightDenial denial);

  FirstFlightOptions options_;
  FirstFlight::Judge judge_;
  wire::QuicHelloAssembler hellos_;
  std::optional<DomainName> name_;
  std::optional<DomainName> unconfirmed_;
  std::uint32_t waiting_ = 0;  ///< The connection that gave it.
  FirstFlightDenial denial_;
};

}  // namespace sluice::policy
