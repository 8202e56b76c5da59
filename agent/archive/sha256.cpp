#include "agent/archive/sha256.h"

#include <array>

namespace sluice::agent {

namespace {

constexpr std::string_view kPrefix = "sha256:";
constexpr std::string_view kHex = "0123456789abcdef";

}  // namespace

std::string Sha256::digest() {
  std::array<std::uint8_t, SHA256_DIGEST_SIZE> bytes{};
  sha256_digest(&state_, bytes.size(), bytes.data());
  std::string text(kPrefix);
  for (std::uint8_t byte : bytes) {
    text += kHex[byte >> 4];
    text += kHex[byte & 0xF];
  }
  return text;
}

bool is_digest(std::string_view text) {
  return text.starts_with(kPrefix) && text.size() == kPrefix.size() + 2 * SHA256_DIGEST_SIZE &&
         text.find_first_not_of(kHex, kPrefix.size()) == std::string_view::npos;
}

}  // namespace sluice::agent
