#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;
struct ssl_ctx_st;
struct ssl_st;
struct x509_st;

namespace sluice::test {

/// What a server shows: a certificate for a name, from a day to another, counted from today.
struct CertificateFor {
  std::string name = "dot.example";
  int from_days = -1;
  int until_days = 1;
};

/// An authority of the test's own, whose certificate is in a file while it lives.
class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  const std::string& path() const { return path_; }
  /// A server's TLS context with a certificate that it has signed.
  std::shared_ptr<ssl_ctx_st> issue(const CertificateFor& what) const;

 private:
  evp_pkey_st* key_;
  x509_st* certificate_;
  std::string path_;
};

/// The server's end of one TLS connection, in memory.
class TlsServerEnd {
 public:
  explicit TlsServerEnd(const std::shared_ptr<ssl_ctx_st>& context);
  ~TlsServerEnd();
  TlsServerEnd(const TlsServerEnd&) = delete;
  TlsServerEnd& operator=(const TlsServerEnd&) = delete;

  /// Takes bytes from the client; gives those for it.
  std::string feed(std::string_view bytes);
  std::string send(std::string_view plaintext);
  /// Says that no more comes.
  std::string close();
  bool is_open() const { return is_open_; }
  /// What the client said, so far not taken.
  std::string plaintext;

 private:
  std::string output();

  ssl_st* ssl_;
  bool is_open_ = false;
};

}  // namespace sluice::test
