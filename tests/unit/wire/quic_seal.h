#pragma once

#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "wire/hello_builder.h"
#include "wire/quic_packet.h"

// Initial packets of a QUIC client, to begin a test from. For unit tests and fuzzers.

namespace sluice::testing {

/// A number of at most 62 bits, in `size` bytes of 1, 2, 4, 8, or the fewest for 0.
inline Message varint(std::uint64_t value, unsigned size = 0) {
  if (size == 0) size = value < 64 ? 1 : value < 16384 ? 2 : value < 1u << 30 ? 4 : 8;
  Message bytes(size);
  for (unsigned i = 0; i < size; ++i) {
    bytes[size - 1 - i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
  bytes[0] |= static_cast<std::uint8_t>((size == 8 ? 3 : size / 2) << 6);
  return bytes;
}

inline Message crypto_frame(std::uint64_t offset, const Message& data) {
  return Message{0x06} + varint(offset) + varint(data.size()) + data;
}
/// A part of `whole`, where it lies in it.
inline Message crypto_part(const Message& whole, std::size_t from, std::size_t to) {
  return crypto_frame(from, Message(whole.begin() + static_cast<std::ptrdiff_t>(from),
                                    whole.begin() + static_cast<std::ptrdiff_t>(to)));
}

struct InitialPacket {
  wire::QuicVersion version = wire::QuicVersion::v1;
  Message destination_id = Message(8, 0x11);
  Message source_id;
  Message token;
  std::uint64_t number = 0;
  unsigned number_bytes = 2;
  Message payload;
  /// Of which the keys come; empty: the destination's.
  Message key_id;
  std::uint8_t reserved_bits = 0;
  bool fixed_bit = true;
};

/// Padded so that it has room for a sample.
inline Message seal(InitialPacket packet) {
  packet.payload.resize(std::max<std::size_t>(packet.payload.size(), 4));
  const Message& id = packet.key_id.empty() ? packet.destination_id : packet.key_id;
  auto keys = *wire::QuicInitialKeys::of_client(packet.version, id);
  bool v2 = packet.version == wire::QuicVersion::v2;
  auto version = static_cast<std::uint32_t>(packet.version);
  Message header{static_cast<std::uint8_t>(0x80 | (packet.fixed_bit ? 0x40 : 0) | (v2 ? 0x10 : 0) |
                                           packet.reserved_bits << 2 | (packet.number_bytes - 1))};
  header = header + be16(version >> 16) + be16(version & 0xffff) + vector8(packet.destination_id) +
           vector8(packet.source_id) + varint(packet.token.size()) + packet.token +
           varint(packet.number_bytes + packet.payload.size() + wire::kQuicTagBytes, 2);
  std::size_t number_offset = header.size();
  for (unsigned i = packet.number_bytes; i-- > 0;) {
    header.push_back(static_cast<std::uint8_t>(packet.number >> (8 * i)));
  }
  auto nonce = keys.iv;
  for (unsigned i = 0; i < 8; ++i) {
    nonce[11 - i] ^= static_cast<std::uint8_t>(packet.number >> (8 * i));
  }

  Message sealed(packet.payload.size() + wire::kQuicTagBytes);
  int size = 0;
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), nullptr, keys.key.data(), nonce.data());
  EVP_EncryptUpdate(context, nullptr, &size, header.data(), static_cast<int>(header.size()));
  EVP_EncryptUpdate(context, sealed.data(), &size, packet.payload.data(),
                    static_cast<int>(packet.payload.size()));
  EVP_EncryptFinal_ex(context, sealed.data() + size, &size);
  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, wire::kQuicTagBytes,
                      sealed.data() + packet.payload.size());
  EVP_CIPHER_CTX_free(context);

  Message whole = header + sealed;
  auto mask =
      *keys.header_mask(ConstBytes(whole).subspan(number_offset + wire::kQuicMaxPacketNumberBytes));
  whole[0] ^= mask[0] & 0x0f;
  for (unsigned i = 0; i < packet.number_bytes; ++i) whole[number_offset + i] ^= mask[1 + i];
  return whole;
}

}  // namespace sluice::testing
