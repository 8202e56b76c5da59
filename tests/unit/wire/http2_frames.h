#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include "wire/hello_builder.h"
#include "wire/http2_request.h"

// What an HTTP/2 client sends, frame by frame, to begin a test from.

namespace sluice::testing::http2 {

enum : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriorityFrame = 2,
  kReset = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
enum : std::uint8_t { kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8, kPriority = 0x20 };

inline Message be32(std::uint32_t value) {
  return be16(value >> 16) + be16(value & 0xffff);
}

inline Message frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                     const Message& payload = {}) {
  return Message{static_cast<std::uint8_t>(payload.size() >> 16)} + be16(payload.size() & 0xffff) +
         Message{type, flags} + be32(stream) + payload;
}

/// The preface with empty SETTINGS.
inline Message begin() {
  return message_of(wire::Http2RequestReader::kPreface) + frame(kSettings, 0, 0);
}

/// A string of HPACK, without Huffman's code.
inline Message text(std::string_view value) {
  Message length;
  if (value.size() < 127) {
    length = {static_cast<std::uint8_t>(value.size())};
  } else {
    length = {127};
    std::size_t rest = value.size() - 127;
    for (; rest >= 128; rest /= 128) length.push_back(static_cast<std::uint8_t>(rest % 128 + 128));
    length.push_back(static_cast<std::uint8_t>(rest));
  }
  return length + message_of(value);
}

/// A field with its name and value in full, that no table keeps.
inline Message field(std::string_view name, std::string_view value) {
  return Message{0x00} + text(name) + text(value);
}
/// Likewise, and the newest of the dynamic table from then on, which is index 62.
inline Message kept_field(std::string_view name, std::string_view value) {
  return Message{0x40} + text(name) + text(value);
}
inline Message indexed(std::uint8_t index) {
  return {static_cast<std::uint8_t>(0x80 | index)};
}

using FieldList = std::initializer_list<std::pair<std::string_view, std::string_view>>;
inline Message block(FieldList fields) {
  Message bytes;
  for (const auto& [name, value] : fields) bytes = bytes + field(name, value);
  return bytes;
}

/// The pseudo-fields of GET / but for the authority: from the static table.
inline Message get_fields() {
  return indexed(2) + indexed(6) + indexed(4);
}
inline Message get_block(std::string_view authority) {
  return get_fields() + field(":authority", authority);
}
inline Message headers(std::uint32_t stream, const Message& block,
                       std::uint8_t flags = kEndHeaders | kEndStream) {
  return frame(kHeaders, flags, stream, block);
}
inline Message get(std::uint32_t stream, std::string_view authority) {
  return headers(stream, get_block(authority));
}

}  // namespace sluice::testing::http2
