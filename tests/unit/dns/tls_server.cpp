#include "tls_server.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>

namespace sluice::test {

namespace {

X509* make_certificate(EVP_PKEY* key, const CertificateFor& what, X509* issuer,
                       EVP_PKEY* issuer_key, bool is_authority) {
  constexpr long kDay = 24L * 3600;
  static long serial = 1;
  X509* made = X509_new();
  X509_set_version(made, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made), what.from_days * kDay);
  X509_gmtime_adj(X509_getm_notAfter(made), what.until_days * kDay);
  X509_set_pubkey(made, key);
  const auto* name = reinterpret_cast<const unsigned char*>(what.name.c_str());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC, name, -1, -1, 0);
  X509_set_issuer_name(made, X509_get_subject_name(issuer ? issuer : made));
  std::string names = "DNS:" + what.name;
  X509_EXTENSION* extension =
      is_authority
          ? X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE")
          : X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
  X509_add_ext(made, extension, -1);
  X509_EXTENSION_free(extension);
  X509_sign(made, issuer_key, EVP_sha256());
  return made;
}

}  // namespace

TestAuthority::TestAuthority() : key_(EVP_EC_gen("P-256")) {
  certificate_ = make_certificate(key_, {"authority"}, nullptr, key_, true);
  std::array<char, 32> path{"/tmp/sluice-ca-XXXXXX"};
  int fd = ::mkstemp(path.data());
  REQUIRE(fd >= 0);
  path_ = path.data();
  FILE* file = ::fdopen(fd, "w");
  PEM_write_X509(file, certificate_);
  std::fclose(file);
}

TestAuthority::~TestAuthority() {
  ::unlink(path_.c_str());
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

std::shared_ptr<ssl_ctx_st> TestAuthority::issue(const CertificateFor& what) const {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = make_certificate(key, what, certificate_, key_, false);
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_use_certificate(context.get(), certificate);
  SSL_CTX_use_PrivateKey(context.get(), key);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return context;
}

TlsServerEnd::TlsServerEnd(const std::shared_ptr<ssl_ctx_st>& context)
    : ssl_(SSL_new(context.get())) {
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_accept_state(ssl_);
}

TlsServerEnd::~TlsServerEnd() {
  SSL_free(ssl_);
}

std::string TlsServerEnd::feed(std::string_view bytes) {
  BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
  ERR_clear_error();
  if (!is_open_) is_open_ = SSL_do_handshake(ssl_) == 1;
  std::array<char, 4096> block;
  for (int count = 1; is_open_ && count > 0;) {
    count = SSL_read(ssl_, block.data(), static_cast<int>(block.size()));
    if (count > 0) plaintext.append(block.data(), static_cast<std::size_t>(count));
  }
  return output();
}

std::string TlsServerEnd::send(std::string_view text) {
  REQUIRE(SSL_write(ssl_, text.data(), static_cast<int>(text.size())) > 0);
  return output();
}

std::string TlsServerEnd::close() {
  SSL_shutdown(ssl_);
  return output();
}

std::string TlsServerEnd::output() {
  std::string out(BIO_ctrl_pending(SSL_get_wbio(ssl_)), '\0');
  if (!out.empty()) BIO_read(SSL_get_wbio(ssl_), out.data(), static_cast<int>(out.size()));
  return out;
}

}  // namespace sluice::test
