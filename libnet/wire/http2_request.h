#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "wire/hpack.h"
#include "wire/http_authority.h"

namespace sluice::wire {

/// What the header block of an HTTP/2 request says about where it goes.
struct Http2Request {
  std::uint32_t stream = 0;
  bool is_connect = false;  ///< It asks for a tunnel to `authority` (RFC 9113 section 8.5).
  /// Nothing where it has neither :authority nor Host.
  std::optional<HttpAuthority> authority;
};

/// Finds every request in the bytes that a client sends on one HTTP/2 connection (RFC 9113), so
/// that no byte of its header block reaches the server before it has been judged.
///
/// Frames say their own length, so all readers see the same ones. Of the header blocks every one is
/// read, trailers too, since HPACK's table depends on all of them. What a server could understand
/// in another way than this reader is malformed: pseudo-fields that come twice, late or under other
/// names, a Host that is not :authority, fields that frame a message in HTTP/1 (a server may pass
/// the request on in that), a body of another length than its Content-Length, control bytes,
/// streams out of order.
///
/// The bytes belong to the caller, who holds them back; the reader copies one header block at most.
/// Any split of the stream into feed() calls leads to the same states. Cost is linear in the bytes.
/// After malformed, feed() takes nothing more.
///
///     frames -> verdict -> approve() -> frames ...
///        '-> malformed
class Http2RequestReader {
 public:
  /// What a client sends before its first frame.
  static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  /// HEADERS and its CONTINUATIONs, with their frame headers and padding.
  static constexpr std::size_t kMaxBlockBytes = 16 * 1024;
  /// The decoded fields, 32 more for each (RFC 9113 section 10.5.1).
  static constexpr std::size_t kMaxListBytes = 16 * 1024;

  /// With a Content-Length, under way at once.
  static constexpr std::size_t kMaxBodies = 256;

  enum class State : std::uint8_t {
    frames,     ///< In the preface, between frames, or inside one.
    verdict,    ///< request() awaits the caller's verdict; feed() takes nothing until approve().
    malformed,  ///< What can't be read for certain. reason() says why.
  };

  /// What came before the preface.
  enum class Start : std::uint8_t {
    first,          ///< Nothing.
    after_upgrade,  ///< A request by HTTP/1 with Upgrade: h2c, which is stream 1.
  };

  explicit Http2RequestReader(Start start = Start::first)
      : last_stream_(start == Start::after_upgrade ? 1 : 0) {}

  /// The next bytes, from the preface's first on. Returns how many were taken: all, or those up to
  /// where the state became one that takes no more; the rest is to be fed again after approve().
  std::size_t feed(ConstBytes bytes);

  State state() const { return state_; }
  /// Bytes from the preface's beginning that may go to the server: approved header blocks, and all
  /// else but a frame header under way. A block is under way where taken() is more than this.
  std::uint64_t released() const { return released_; }
  /// Of the stream, over all feed() calls. Means nothing once feed() takes nothing more for good.
  std::uint64_t taken() const { return taken_; }
  /// What was read last. Requires state() == verdict.
  const Http2Request& request() const { return request_; }
  /// The header block may go to the server. Requires state() == verdict; else does nothing.
  void approve();
  /// What was wrong, of a malformed stream; empty in other states.
  std::string_view reason() const { return reason_; }

 private:
  enum class Part : std::uint8_t { preface, header, payload };
  enum class FrameType : std::uint8_t {
    data = 0,
    headers = 1,
    reset = 3,
    settings = 4,
    push_promise = 5,
    continuation = 9,
  };
  static constexpr std::size_t kHeaderBytes = 9;
  static constexpr std::uint8_t kEndStream = 0x1, kAck = 0x1, kEndHeaders = 0x4, kPadded = 0x8,
                                kPriority = 0x20;

  struct Frame {
    std::size_t size = 0;
    FrameType type = FrameType::data;
    std::uint8_t flags = 0;
    std::uint32_t stream = 0;
    bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
    bool is_block() const { return type == FrameType::headers || type == FrameType::continuation; }
  };

  /// Fields of the block under way that request_ is made of.
  struct Fields {
    std::size_t bytes = 0;
    bool is_trailer = false;
    bool past_pseudo = false;
    std::optional<std::string> method, scheme, path, authority, host, content_length;
  };

  std::size_t take_preface(ConstBytes bytes);
  std::size_t take_header(ConstBytes bytes);
  std::size_t take_payload(ConstBytes bytes);
  std::size_t header_size() const;
  void begin_frame();
  void begin_data();
  void end_body(std::uint32_t stream);
  void begin_block_frame();
  void end_frame();
  void strip_headers_frame();
  void end_block();
  bool note_field(std::string_view name, std::string_view value);
  bool note_pseudo(std::string_view name, std::string_view value);
  bool note_regular(std::string_view name, std::string_view value);
  void end_request();
  bool read_authority();
  /// False, for the callers' brevity.
  bool fail(std::string_view reason);

  State state_ = State::frames;
  Part part_ = Part::preface;
  std::uint64_t taken_ = 0;
  std::uint64_t released_ = 0;
  std::size_t header_bytes_ = 0;                // of the frame header under way
  std::uint8_t header_[kHeaderBytes + 1] = {};  // with the length of a DATA frame's padding
  Frame frame_;
  std::size_t left_ = 0;  // of the frame's payload
  bool seen_settings_ = false;
  std::uint32_t last_stream_;       // that a request was on
  std::uint32_t block_stream_ = 0;  // whose block is under way; 0: none is
  bool block_ends_stream_ = false;
  std::size_t block_frames_bytes_ = 0;
  std::vector<std::uint8_t> block_;  // without padding and priority, but for the last frame's
  HpackReader hpack_;
  Fields fields_;
  std::unordered_map<std::uint32_t, std::uint64_t> bodies_;  // what is still to come of each
  Http2Request request_;
  std::string_view reason_;  // a literal
};

}  // namespace sluice::wire
