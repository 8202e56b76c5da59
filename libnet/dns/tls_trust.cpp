#include "dns/tls_trust.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace sluice::dns {

namespace {

/// Where distributions keep the trust store as one file: Debian and its kin, Fedora and its kin,
/// openSUSE, Alpine.
constexpr std::array<const char*, 4> kStores{"/etc/ssl/certs/ca-certificates.crt",
                                             "/etc/pki/tls/certs/ca-bundle.crt",
                                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

std::string host_store() {
  if (const char* named = std::getenv(X509_get_default_cert_file_env())) return named;
  for (const char* path : kStores) {
    if (::access(path, R_OK) == 0) return path;
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const TlsTrust>> TlsTrust::load(const std::string& ca_file) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (!context) return Status(StatusCode::internal, "OpenSSL gave no TLS context");
  std::shared_ptr<const TlsTrust> trust(new TlsTrust(context));  // NOLINT: private constructor
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);

  std::string file = ca_file.empty() ? host_store() : ca_file;
  if (!ca_file.empty()) {
    // Whoever names a file may name the resolver's own certificate in it.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  }
  auto bad = [&](std::string_view why) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("dns-ca {}: {}; certificates in PEM are needed",
                              file.empty() ? "of this host" : file, why));
  };
  if (!file.empty() && ::access(file.c_str(), R_OK) != 0) return bad(std::strerror(errno));
  bool is_loaded = file.empty() ? SSL_CTX_set_default_verify_paths(context) == 1
                                : SSL_CTX_load_verify_file(context, file.c_str()) == 1;
  ERR_clear_error();
  if (!is_loaded) return bad("no certificate is in it");
  return trust;
}

TlsTrust::~TlsTrust() {
  SSL_CTX_free(context_);
}

}  // namespace sluice::dns
