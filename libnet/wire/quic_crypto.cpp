#include "wire/quic_crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <memory>
#include <string_view>

namespace sluice::wire {

namespace {

using Digest = std::array<std::uint8_t, 32>;

// RFC 9001 section 5.2, RFC 9369 section 3.3.1.
constexpr std::array<std::uint8_t, 20> kSaltV1 = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34,
                                                  0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                                                  0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
constexpr std::array<std::uint8_t, 20> kSaltV2 = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6,
                                                  0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26,
                                                  0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9};

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

std::optional<Digest> hmac(ConstBytes key, ConstBytes data) {
  Digest digest;
  unsigned size = 0;
  if (!HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(),
            digest.data(), &size)) {
    return std::nullopt;
  }
  return digest;
}

/// HKDF-Expand-Label (RFC 8446 section 7.1) without a context. One block of HKDF is enough, as
/// nothing here is longer than a digest (RFC 5869 section 2.3).
bool expand(ConstBytes secret, std::string_view label, Bytes out) {
  constexpr std::string_view kPrefix = "tls13 ";
  std::vector<std::uint8_t> info;
  info.push_back(0);
  info.push_back(static_cast<std::uint8_t>(out.size()));
  info.push_back(static_cast<std::uint8_t>(kPrefix.size() + label.size()));
  info.insert(info.end(), kPrefix.begin(), kPrefix.end());
  info.insert(info.end(), label.begin(), label.end());
  info.push_back(0);  // the context's length
  info.push_back(1);  // the number of the block
  auto block = hmac(secret, info);
  if (!block) return false;
  std::copy_n(block->begin(), out.size(), out.begin());
  return true;
}

}  // namespace

std::optional<QuicInitialKeys> QuicInitialKeys::of_client(QuicVersion version,
                                                          ConstBytes connection_id) {
  bool v2 = version == QuicVersion::v2;
  auto initial = hmac(v2 ? kSaltV2 : kSaltV1, connection_id);
  Digest client;
  if (!initial || !expand(*initial, "client in", client)) return std::nullopt;
  QuicInitialKeys keys;
  if (!expand(client, v2 ? "quicv2 key" : "quic key", keys.key) ||
      !expand(client, v2 ? "quicv2 iv" : "quic iv", keys.iv) ||
      !expand(client, v2 ? "quicv2 hp" : "quic hp", keys.header)) {
    return std::nullopt;
  }
  return keys;
}

std::optional<std::array<std::uint8_t, 5>> QuicInitialKeys::header_mask(ConstBytes sample) const {
  Context context(EVP_CIPHER_CTX_new());
  std::array<std::uint8_t, 32> block;  // room for a block more, as EVP_EncryptUpdate() may want
  int size = 0;
  if (!context ||
      !EVP_EncryptInit_ex(context.get(), EVP_aes_128_ecb(), nullptr, header.data(), nullptr) ||
      !EVP_EncryptUpdate(context.get(), block.data(), &size, sample.data(), kQuicSampleBytes)) {
    return std::nullopt;
  }
  return std::array<std::uint8_t, 5>{block[0], block[1], block[2], block[3], block[4]};
}

std::optional<std::vector<std::uint8_t>> QuicInitialKeys::open(std::uint64_t packet_number,
                                                               ConstBytes associated,
                                                               ConstBytes ciphertext) const {
  if (ciphertext.size() < kQuicTagBytes) return std::nullopt;
  ConstBytes body = ciphertext.first(ciphertext.size() - kQuicTagBytes);
  // EVP_CTRL_AEAD_SET_TAG takes what it doesn't change by a pointer to what it could.
  std::array<std::uint8_t, kQuicTagBytes> tag;
  std::ranges::copy(ciphertext.last(kQuicTagBytes), tag.begin());
  auto nonce = iv;
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[nonce.size() - 1 - i] ^= static_cast<std::uint8_t>(packet_number >> (8 * i));
  }

  Context context(EVP_CIPHER_CTX_new());
  std::vector<std::uint8_t> payload(body.size() + kQuicTagBytes);
  int size = 0;
  int rest = 0;
  if (!context ||
      !EVP_DecryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, key.data(), nonce.data()) ||
      !EVP_DecryptUpdate(context.get(), nullptr, &size, associated.data(),
                         static_cast<int>(associated.size())) ||
      !EVP_DecryptUpdate(context.get(), payload.data(), &size, body.data(),
                         static_cast<int>(body.size())) ||
      !EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kQuicTagBytes, tag.data()) ||
      EVP_DecryptFinal_ex(context.get(), payload.data() + size, &rest) <= 0) {
    return std::nullopt;
  }
  payload.resize(body.size());
  return payload;
}

}  // namespace sluice::wire
