#pragma once

#include <sys/uio.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/status.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "base/unique_fd.h"

namespace sluice {

/// Result of one I/O call. Exactly one of three: bytes moved (0 from receive = end of stream),
/// would block (`error == EAGAIN`), failed (`error` is the errno).
struct IoResult {
  std::size_t bytes = 0;
  int error = 0;
  /// With bytes moved: fewer than asked for, and a readiness comes before another call can move
  /// more, so the owner saves the call that would say "would block". Never set where an end of
  /// stream or an error may still be waiting to be read.
  bool drained = false;

  bool ok() const { return error == 0; }
  bool would_block() const { return error == EAGAIN; }
};

/// Readiness of a host socket. Edge-triggered: reported once per change, so the owner remembers it
/// until a call says "would block".
struct SocketReady {
  bool readable = false;
  bool writable = false;
  bool error = false;
};

/// Receives readiness. Called on the loop's thread, never from inside a call on the socket. The
/// handler may destroy the socket.
class SocketHandler {
 public:
  virtual void on_socket_ready(SocketReady ready) = 0;

 protected:
  ~SocketHandler() = default;
};

/// A TCP (or Unix stream) connection of the host's. Destroying it closes it: unsent data is still
/// sent by the kernel.
class StreamSocket {
 public:
  virtual ~StreamSocket() = default;
  /// At most one handler; nullptr for none. Readiness that came while there was none is reported
  /// to the next one.
  virtual void set_handler(SocketHandler* handler) = 0;
  /// After the first readiness of a dialled socket: 0 when connected, else the errno. A connection
  /// that ended in itself (TCP's simultaneous open with one's own port) counts as refused.
  virtual int connect_result() = 0;
  virtual IoResult send(std::span<const iovec> data) = 0;
  virtual IoResult receive(std::span<const iovec> buffers) = 0;
  /// Half-close: FIN after what was sent.
  virtual void shutdown_send() = 0;
  /// From here on, destruction sends RST and drops what is unsent.
  virtual void reset_on_close() = 0;
  /// Bytes received and not yet read, without reading them.
  virtual std::size_t pending_bytes() = 0;
  /// Fewer bytes than asked for do not mean that nothing else is there: the peer's end, an error,
  /// or a byte that was urgent, before which receive() stops.
  virtual bool stops_early() const { return false; }
  /// Whether peek() and discard() work: TCP's of Linux 6.10 and later. Prepares for it.
  virtual bool can_peek() { return false; }
  /// receive() of what comes after the next `offset` bytes; nothing is read. Stops before a byte
  /// that was urgent.
  virtual IoResult peek(std::size_t /*offset*/, std::span<const iovec> /*buffers*/) {
    return {.error = EOPNOTSUPP};
  }
  /// Reads and forgets; false if not so many bytes were there.
  virtual bool discard(std::size_t /*bytes*/) { return false; }
  /// The errno with which the peer or the network ended the connection, 0 if none. Clears it.
  virtual int take_error() = 0;
  /// Nothing for Unix sockets.
  virtual std::optional<Endpoint> local() const = 0;
  virtual std::optional<Endpoint> peer() const = 0;
};

/// How long a listener rests when there are no descriptors for what it could accept.
inline constexpr Duration kAcceptRetry = std::chrono::milliseconds(100);

/// A listening socket. Readable readiness means that accept() will give connections.
class ListenSocket {
 public:
  virtual ~ListenSocket() = default;
  virtual void set_handler(SocketHandler* handler) = 0;
  /// The next connection; nullptr with error EAGAIN when there is none. Aborted connections are
  /// skipped. Another error means that this process or machine has run out of something (EMFILE,
  /// ENFILE, ENOBUFS, ENOMEM): connections stay in the backlog, and readiness comes again after
  /// kAcceptRetry.
  struct Accepted {
    std::unique_ptr<StreamSocket> socket;
    int error = 0;
  };
  virtual Accepted accept() = 0;
  /// The bound address, with the port that the kernel chose; nothing for Unix sockets.
  virtual std::optional<Endpoint> local() const = 0;
};

struct OutDatagram {
  Endpoint peer;
  std::span<const iovec> data;
};

struct InDatagram {
  Endpoint peer;
  ConstBytes data;  ///< Valid until the next receive on any socket of this HostNet.
  std::uint8_t ttl = 64;
};

/// What one receive_batch() gives, in order of arrival.
struct InBatch {
  std::span<const InDatagram> datagrams;  ///< Valid as their data is.
  bool drained = true;                    ///< Nothing is left: readiness follows the next datagram.
};

/// An ICMP error or local error that the kernel queued for a datagram socket (IP_RECVERR).
struct SocketError {
  int error = 0;                      ///< errno: ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ...
  Endpoint destination;               ///< Of the datagram that caused it.
  std::optional<IpAddress> offender;  ///< Who sent the ICMP error; nothing for a local one.
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  std::uint32_t mtu = 0;              ///< With EMSGSIZE.
  std::vector<std::uint8_t> payload;  ///< First bytes of the datagram that caused it.
};

/// A UDP socket, or an unprivileged ICMP echo ("ping") socket whose payload is the ICMP message.
class DatagramSocket {
 public:
  virtual ~DatagramSocket() = default;
  virtual void set_handler(SocketHandler* handler) = 0;
  /// Sends in order; stops at the first that can't be sent. `bytes` is the number of datagrams.
  /// Room is reported only after a send that found none, or with an error.
  virtual IoResult send_batch(std::span<const OutDatagram> datagrams) = 0;
  /// Some datagrams, a few hundred at most; none when there is none.
  virtual InBatch receive_batch() = 0;
  virtual std::optional<SocketError> take_queued_error() = 0;
  /// IPv4 TTL or IPv6 hop limit of what is sent.
  virtual void set_ttl(std::uint8_t ttl) = 0;
  virtual std::optional<Endpoint> local() const = 0;
};

/// The host's sockets, as a seam: the real one uses the kernel, a test scripts its own. All calls
/// on the loop's thread.
class HostNet {
 public:
  virtual ~HostNet() = default;

  /// Begins a connection; readiness follows, also for a destination that the kernel refuses at
  /// once: connect_result() says why. An error here means that no socket could be had.
  virtual Result<std::unique_ptr<StreamSocket>> dial_tcp(const Endpoint& to) = 0;
  virtual Result<std::unique_ptr<StreamSocket>> dial_unix(const std::string& path) = 0;
  /// Takes a stream socket that is connected already (or one end of a pair), non-blocking.
  virtual Result<std::unique_ptr<StreamSocket>> adopt(UniqueFd fd) = 0;
  virtual Result<std::unique_ptr<ListenSocket>> listen_tcp(const Endpoint& at) = 0;
  /// Replaces a stale socket at `path` only if nothing answers there and it is a socket; the file
  /// is removed again when the listener goes, if it is still the same one.
  virtual Result<std::unique_ptr<ListenSocket>> listen_unix(const std::string& path) = 0;
  /// Bound to `at` (port 0: the kernel chooses; unspecified address: any).
  virtual Result<std::unique_ptr<DatagramSocket>> open_udp(const Endpoint& at) = 0;
  /// For questions, one at a time, and their answers, with as few system calls as they take: the
  /// kernel chooses a random port with the first datagram, its buffers are the system's, and an
  /// answer's TTL is not told.
  virtual Result<std::unique_ptr<DatagramSocket>> open_query(Family family) = 0;
  /// permission_denied where net.ipv4.ping_group_range does not allow it.
  virtual Result<std::unique_ptr<DatagramSocket>> open_ping(Family family) = 0;
};

}  // namespace sluice
