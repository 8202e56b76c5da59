#include "policy/first_flight_reply.h"

#include <fmt/format.h>

#include <string>

#include "base/bytes.h"

namespace sluice::policy {

namespace {

using Reply = std::vector<std::uint8_t>;

std::string line(std::string_view why) {
  return fmt::format("refused by network policy: {}\n", why);
}

void append(Reply& reply, std::string_view text) {
  reply.insert(reply.end(), text.begin(), text.end());
}

void append_be32(Reply& reply, std::uint32_t value) {
  reply.resize(reply.size() + 4);
  store_be32(reply.data() + reply.size() - 4, value);
}

enum class FrameType : std::uint8_t { data = 0, headers = 1, settings = 4, goaway = 7 };

/// RFC 9113 section 4.1.
void append_frame(Reply& reply, FrameType type, std::uint8_t flags, std::uint32_t stream,
                  const Reply& payload) {
  append_be32(reply,
              static_cast<std::uint32_t>(payload.size() << 8) | static_cast<std::uint8_t>(type));
  reply.push_back(flags);
  append_be32(reply, stream);
  reply.insert(reply.end(), payload.begin(), payload.end());
}

/// Of :status 403 and text/plain, by names of HPACK's static table and literals that no dynamic
/// table keeps (RFC 7541 section 6.2.2).
Reply forbidden_block() {
  Reply block;
  append(block,
         "\x08\x03"
         "403");
  append(block,
         "\x0f\x10\x0a"
         "text/plain");
  return block;
}

}  // namespace

Reply tls_refusal() {
  return {21, 3, 3, 0, 2, 2, 49};
}

Reply http_refusal(std::string_view why) {
  std::string body = line(why);
  std::string text = fmt::format(
      "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n"
      "Connection: close\r\n\r\n{}",
      body.size(), body);
  return {text.begin(), text.end()};
}

Reply http2_refusal(ServerSettings settings, std::uint32_t stream, std::string_view why) {
  constexpr std::uint8_t kEndStream = 0x1, kEndHeaders = 0x4;
  constexpr std::uint32_t kNoError = 0, kProtocolError = 1;
  std::string body = line(why);
  Reply reply;
  if (settings == ServerSettings::to_come) append_frame(reply, FrameType::settings, 0, 0, {});
  Reply goaway;
  append_be32(goaway, stream);
  append_be32(goaway, stream != 0 ? kNoError : kProtocolError);
  if (stream != 0) {
    append_frame(reply, FrameType::headers, kEndHeaders, stream, forbidden_block());
    append_frame(reply, FrameType::data, kEndStream, stream, {body.begin(), body.end()});
  } else {
    append(goaway, body);
  }
  append_frame(reply, FrameType::goaway, 0, 0, goaway);
  return reply;
}

}  // namespace sluice::policy
