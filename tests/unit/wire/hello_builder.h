#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

// Client hellos, byte by byte, to begin a test from. For unit tests and fuzzers.

namespace sluice::testing {

using Message = std::vector<std::uint8_t>;

inline Message operator+(Message a, const Message& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Message message_of(std::string_view text) {
  return {text.begin(), text.end()};
}
inline Message be16(std::size_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}
/// With its length before it.
inline Message vector8(const Message& data) {
  return Message{static_cast<std::uint8_t>(data.size())} + data;
}
inline Message vector16(const Message& data) {
  return be16(data.size()) + data;
}

inline Message extension(std::uint16_t type, const Message& data) {
  return be16(type) + vector16(data);
}
inline Message server_name(std::string_view name) {
  return extension(0, vector16(Message{0} + vector16(message_of(name))));
}
inline Message alpn(std::initializer_list<std::string_view> protocols) {
  Message list;
  for (auto protocol : protocols) list = list + vector8(message_of(protocol));
  return extension(16, vector16(list));
}
inline Message tls13() {
  return extension(43, vector8({0x03, 0x04, 0x03, 0x03}));
}

/// Everything before the extensions.
inline Message hello_start() {
  return be16(0x0303) + Message(32, 0xab) + vector8(Message(32, 0xcd)) +
         vector16({0x13, 0x01, 0x13, 0x02}) + vector8({0});
}
/// A hello's body.
inline Message hello_body(const Message& extensions) {
  return hello_start() + vector16(extensions);
}
inline Message handshake(std::uint8_t type, const Message& body) {
  return Message{type, static_cast<std::uint8_t>(body.size() >> 16)} + be16(body.size() & 0xffff) +
         body;
}
inline Message record(std::uint8_t type, const Message& content, std::uint16_t version = 0x0301) {
  return Message{type} + be16(version) + vector16(content);
}
/// A hello as handshake message, of TLS 1.3.
inline Message hello_message(std::string_view name, const Message& more = {}) {
  return handshake(1, hello_body(server_name(name) + tls13() + more));
}
/// Cut into records of at most `size` bytes.
inline Message records(const Message& content, std::size_t size) {
  Message all;
  for (std::size_t at = 0; at < content.size(); at += size) {
    auto end = std::min(content.size(), at + size);
    all = all + record(22, Message(content.begin() + static_cast<std::ptrdiff_t>(at),
                                   content.begin() + static_cast<std::ptrdiff_t>(end)));
  }
  return all;
}

}  // namespace sluice::testing
