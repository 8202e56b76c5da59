#pragma once

#include <nettle/sha2.h>

#include <string>
#include <string_view>

#include "agent/archive/stream.h"
#include "base/bytes.h"

namespace sluice::agent {

/// SHA-256 of what it is given, in pieces.
class Sha256 {
 public:
  Sha256() { sha256_init(&state_); }
  void update(ConstBytes bytes) { sha256_update(&state_, bytes.size(), bytes.data()); }
  /// "sha256:" and 64 hex digits, as image formats write a digest. Begins anew.
  std::string digest();

 private:
  sha256_ctx state_;
};

/// Whether it is a digest of the one kind that is known here: sha256, in lower case.
bool is_digest(std::string_view text);
/// The 64 hex digits of a digest.
inline std::string_view digest_hex(std::string_view digest) {
  return digest.substr(digest.find(':') + 1);
}

/// Passes on what `below` has, and knows its digest and size.
class HashingSource final : public Source {
 public:
  explicit HashingSource(Source& below) : below_(below) {}
  Result<std::size_t> read(Bytes into) override {
    auto got = below_.read(into);
    if (got) {
      hash_.update(into.first(*got));
      bytes_ += *got;
    }
    return got;
  }
  std::string digest() { return hash_.digest(); }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Source& below_;
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

}  // namespace sluice::agent
