#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "wire/quic_packet.h"
#include "wire/tls_hello.h"

namespace sluice::wire {

/// Puts client hellos together from the datagrams that a client sends from one port to one server,
/// so that no hello reaches the server unjudged. QUIC of version 1 and 2.
///
/// The keys of a connection follow from the id by which its first Initial names the server. Each
/// Initial is tried with its own id first (a new connection, also the one that a Retry starts
/// anew) and then with those of the connections known, as later Initials name the server as it
/// likes. What opens with none is malformed.
///
/// A connection's CRYPTO frames may come in any order and any number of datagrams, repeated or
/// overlapping, but what overlaps must be the same: else two readers could see two hellos. So the
/// bytes of a hello are kept while its connection is. A second hello (after HelloRetryRequest) is
/// judged like the first.
///
/// The datagrams belong to the caller, who holds back those for which the state is need_more.
/// Cost of a datagram: linear in its bytes, with at most kMaxConnections + 1 decryptions of its
/// first packet.
class QuicHelloAssembler {
 public:
  /// More at a time from one port to one server is malformed; browsers have one.
  static constexpr std::size_t kMaxConnections = 4;
  /// A datagram's Initials. Honest ones have one or two.
  static constexpr std::size_t kMaxInitials = 8;
  /// A connection is forgotten when no Initial of it came for so long: after its handshake there
  /// are none, and a server that never saw its end gave up before.
  static constexpr Duration kQuiet = std::chrono::minutes(1);

  enum class State : std::uint8_t {
    not_quic,       ///< No long header. It is up to the caller whether such may pass.
    other_version,  ///< A version that can't be read: Datagram::version. 0 negotiates a version.
    no_initial,     ///< Handshake, 0-RTT or Retry packets alone: nothing that names a server.
    need_more,      ///< Part of a hello: to be held until `complete` of the same connection.
    complete,       ///< hello() awaits the caller's verdict. Said of each Initial until approve().
    judged,         ///< Of a connection whose hello was approved, and with no other under way.
    malformed,      ///< Not to be forwarded. reason() says why.
    too_large,      ///< A hello over kMaxClientHelloBytes, or too many of them.
  };

  struct Datagram {
    State state = State::not_quic;
    std::uint32_t version = 0;  ///< Of its first packet with a long header.
    /// Which connection it belongs to; 0 where none is known. Never used for two.
    std::uint32_t connection = 0;
  };

  /// Looks at the client's next datagram. After malformed and too_large what the datagram's
  /// connection sends stays so.
  Datagram add(ConstBytes datagram, TimePoint now);
  /// The hello of a connection that add() called complete; null for others. Valid until the next
  /// call that is not const.
  const ClientHello* hello(std::uint32_t connection) const;
  /// The hello, and with it the connection's held datagrams, may go to the server. Does nothing
  /// for a connection that isn't complete.
  void approve(std::uint32_t connection);

  /// Why the last malformed datagram was.
  std::string_view reason() const { return reason_; }
  std::size_t connections() const { return connections_.size(); }
  /// What is kept of hellos, in bytes. At most about 40 KiB a connection.
  std::size_t bytes() const;

 private:
  /// A first hello and a second.
  static constexpr std::size_t kMaxStreamBytes =
      2 * (kTlsHandshakeHeaderBytes + kMaxClientHelloBytes);

  struct Connection {
    std::uint32_t id = 0;
    std::vector<std::uint8_t> original_id;  // the destination's in its first Initial
    std::optional<QuicInitialKeys> keys_v1;
    std::optional<QuicInitialKeys> keys_v2;
    std::optional<std::uint64_t> largest_number;
    TimePoint last_seen;

    std::vector<std::uint8_t> stream;  // CRYPTO bytes from offset 0, with gaps
    std::vector<bool> present;         // which of them came
    std::size_t contiguous = 0;        // how many came from the front
    std::size_t start = 0;             // where the hello under way begins
    std::size_t end = 0;               // and ends; 0 while that isn't known
    bool approved = false;             // one hello was
    bool complete = false;
    State fault = State::judged;  // malformed or too_large, or none of them
    ClientHello hello;
  };

  void forget_quiet(TimePoint now);
  Connection* open(const QuicLongPacket& packet, QuicOpened& opened);
  Connection* open_as_new(const QuicLongPacket& packet, QuicOpened& opened);
  bool take_initial(const QuicLongPacket& packet, Connection*& connection, TimePoint now);
  void take_frames(Connection& connection, ConstBytes payload);
  void take_crypto(Connection& connection, const QuicCryptoFrame& frame);
  void advance(Connection& connection);
  void fail(Connection& connection, std::string_view reason);
  static State state_of(const Connection& connection);
  static bool try_keys(Connection& connection, const QuicLongPacket& packet, QuicOpened& opened);

  std::vector<Connection> connections_;
  std::uint32_t last_id_ = 0;
  std::string_view reason_;  // a literal
};

}  // namespace sluice::wire
