#pragma once

#include <memory>
#include <string>

#include <net/status.h>

struct ssl_ctx_st;

namespace sluice::dns {

/// Whose signature on a resolver's certificate counts. Immutable.
class TlsTrust {
 public:
  /// `ca_file`: certificates in PEM, and no others count; empty: the host's trust store, which is
  /// the file that SSL_CERT_FILE names or the one where distributions keep it. It is read here and
  /// not again, so that it can be done before privileges are dropped. The error names the file.
  static Result<std::shared_ptr<const TlsTrust>> load(const std::string& ca_file);
  ~TlsTrust();
  TlsTrust(const TlsTrust&) = delete;
  TlsTrust& operator=(const TlsTrust&) = delete;

  ssl_ctx_st* context() const { return context_; }

 private:
  explicit TlsTrust(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

}  // namespace sluice::dns
