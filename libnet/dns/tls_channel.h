#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "dns/tls_trust.h"

struct ssl_st;

namespace sluice::dns {

/// The client's side of one TLS connection as bytes in and bytes out: it has no socket and keeps no
/// time. The peer's certificate must be trusted and for the name, or there is no connection.
///
/// ```
///   from the peer --receive()--> [ handshake -> open -> ended ] --plaintext()--> to the owner
///   to the peer  <--output()---- [                 '-> failed ] <---send()------ from the owner
/// ```
class TlsChannel {
 public:
  enum class State : std::uint8_t {
    handshake,
    open,
    ended,   ///< The peer has said that it sends no more.
    failed,  ///< trouble() says why.
  };

  /// `name`: a domain name, which also goes out as SNI, or an IP address. The first bytes for the
  /// peer are in output() at once.
  TlsChannel(std::shared_ptr<const TlsTrust> trust, const std::string& name);
  ~TlsChannel();
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;

  State state() const { return state_; }
  /// A phrase about the peer: "its certificate has expired".
  const std::string& trouble() const { return trouble_; }

  /// Bytes from the peer, any number of them.
  void receive(ConstBytes bytes);
  /// Only while open.
  void send(ConstBytes plaintext);
  /// Says to the peer that nothing more comes.
  void close();
  /// What has to go to the peer; each byte is given once.
  std::vector<std::uint8_t> output();
  /// What the peer said; each byte is given once.
  std::vector<std::uint8_t> plaintext() { return std::exchange(plaintext_, {}); }

 private:
  void advance();
  void read_plaintext();
  void fail(int result);

  std::shared_ptr<const TlsTrust> trust_;
  std::string name_;
  ssl_st* ssl_ = nullptr;
  State state_ = State::handshake;
  std::string trouble_;
  std::vector<std::uint8_t> plaintext_;
};

}  // namespace sluice::dns
