#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <net/name.h>
#include <net/status.h>

#include "base/bytes.h"

// What a TLS client says in the clear before it is answered: its hello (RFC 8446 section 4.1.2, and
// the same of TLS 1.0 to 1.2). tls_hello_reader.h finds it in a TCP stream, quic_hello.h in QUIC's
// Initial packets.

namespace sluice::wire {

/// A hello is at most so long, without its header. Real ones have 200 to 2000 bytes.
inline constexpr std::size_t kMaxClientHelloBytes = 16 * 1024;
/// Message type and 24-bit length before each handshake message (RFC 8446 section 4).
inline constexpr std::size_t kTlsHandshakeHeaderBytes = 4;
/// The type of a ClientHello.
inline constexpr std::uint8_t kTlsClientHello = 1;

/// A client hello whose every length has been checked.
struct ClientHello {
  /// No more protocols than this are taken; a hello with more is malformed.
  static constexpr std::size_t kMaxAlpn = 32;

  std::uint16_t legacy_version = 0;  ///< 0x0303 but in old clients.
  /// Extension 43, GREASE included; empty where the client speaks no TLS 1.3.
  std::vector<std::uint16_t> supported_versions;
  bool has_server_name = false;
  /// There where has_server_name is, and nowhere else.
  std::optional<DomainName> server_name;
  /// The server may answer for another name than server_name: encrypted_client_hello, whether meant
  /// or GREASE (nobody but the server can tell), or encrypted_server_name, which it was in drafts.
  bool has_ech = false;
  bool has_early_data = false;    ///< 0-RTT data follow the hello.
  std::vector<std::string> alpn;  ///< RFC 7301, in the client's order; any bytes.
};

/// Reads a ClientHello without its four-byte header. An error (invalid_argument, with the reason)
/// where lengths don't add up, bytes are left over, an extension comes twice, or the server name
/// is not one readable DNS name: an address, a NUL, an empty list, a second entry (RFC 6066
/// section 3). An extension that is not in ClientHello is not looked into.
Result<ClientHello> parse_client_hello(ConstBytes body);

}  // namespace sluice::wire
