#include "dns/tls_channel.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <utility>

#include <net/address.h>

namespace sluice::dns {

namespace {

/// A TLS record's most.
constexpr std::size_t kBlockBytes = 16384;

std::string certificate_trouble(long verdict, const std::string& name) {
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fmt::format("its certificate is not for the name {}", name);
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "its certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "its certificate is not valid yet";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "its certificate is signed by nobody that is trusted here";
    default:
      return fmt::format("its certificate is refused: {}", X509_verify_cert_error_string(verdict));
  }
}

std::string handshake_trouble(unsigned long error) {
  switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_UNKNOWN_PROTOCOL:
      return "it does not speak TLS there";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return "it speaks no version of TLS from 1.2 on";
    default:
      break;
  }
  const char* reason = ERR_reason_error_string(error);
  return fmt::format("the TLS handshake failed: {}", reason ? reason : "malformed");
}

}  // namespace

TlsChannel::TlsChannel(std::shared_ptr<const TlsTrust> trust, const std::string& name)
    : trust_(std::move(trust)), name_(name), ssl_(SSL_new(trust_->context())) {
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  bool is_ready = ssl_ && in && out;
  if (is_ready) {
    SSL_set_bio(ssl_, in, out);
    SSL_set_connect_state(ssl_);
    if (IpAddress::parse(name)) {
      is_ready = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), name.c_str()) == 1;
    } else {
      SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      is_ready = SSL_set1_host(ssl_, name.c_str()) == 1 &&
                 SSL_set_tlsext_host_name(ssl_, name.c_str()) == 1;
    }
  } else {
    BIO_free(in);
    BIO_free(out);
  }
  if (!is_ready) {
    // Without the check of the name there is no connection.
    state_ = State::failed;
    trouble_ = "OpenSSL has no memory, or does not take the name";
    return;
  }
  advance();
}

TlsChannel::~TlsChannel() {
  SSL_free(ssl_);
}

void TlsChannel::receive(ConstBytes bytes) {
  if (state_ != State::handshake && state_ != State::open) return;
  // A memory BIO takes what it is given, or there is no memory.
  if (BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size())) < 0) {
    state_ = State::failed;
    trouble_ = "OpenSSL has no memory";
    return;
  }
  advance();
}

void TlsChannel::advance() {
  ERR_clear_error();
  if (state_ == State::handshake) {
    int result = SSL_do_handshake(ssl_);
    if (result != 1) return fail(result);
    state_ = State::open;
  }
  read_plaintext();
}

void TlsChannel::read_plaintext() {
  std::array<std::uint8_t, kBlockBytes> block;
  while (state_ == State::open) {
    ERR_clear_error();
    int count = SSL_read(ssl_, block.data(), static_cast<int>(block.size()));
    if (count <= 0) return fail(count);
    plaintext_.insert(plaintext_.end(), block.begin(), block.begin() + count);
  }
}

void TlsChannel::fail(int result) {
  int kind = SSL_get_error(ssl_, result);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return;
  if (kind == SSL_ERROR_ZERO_RETURN) {
    state_ = State::ended;
    return;
  }
  bool in_handshake = state_ == State::handshake;
  state_ = State::failed;
  long verdict = SSL_get_verify_result(ssl_);
  unsigned long error = ERR_peek_error();
  if (in_handshake && verdict != X509_V_OK) {
    trouble_ = certificate_trouble(verdict, name_);
  } else if (in_handshake) {
    trouble_ = handshake_trouble(error);
  } else {
    const char* reason = ERR_reason_error_string(error);
    trouble_ = fmt::format("the TLS connection broke: {}", reason ? reason : "malformed");
  }
  ERR_clear_error();
}

void TlsChannel::send(ConstBytes plaintext) {
  if (state_ != State::open || plaintext.empty()) return;
  ERR_clear_error();
  int count = SSL_write(ssl_, plaintext.data(), static_cast<int>(plaintext.size()));
  if (count <= 0) fail(count);
}

void TlsChannel::close() {
  if (state_ != State::open && state_ != State::ended) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

std::vector<std::uint8_t> TlsChannel::output() {
  if (!ssl_ || !SSL_get_wbio(ssl_)) return {};
  BIO* out = SSL_get_wbio(ssl_);
  std::vector<std::uint8_t> bytes(BIO_ctrl_pending(out));
  if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

}  // namespace sluice::dns
