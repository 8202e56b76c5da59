#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"

namespace sluice::agent::rpc {

/// ttrpc's frame: length of the payload (u32), stream (u32), type (u8), flags (u8), all big-endian,
/// then the payload. (containerd's ttrpc, PROTOCOL.md, versions 1.0 and 1.2.)
enum class FrameType : std::uint8_t { request = 1, response = 2, data = 3 };

inline constexpr std::uint8_t kRemoteClosed = 1;  ///< The sender sends no more on this stream.
inline constexpr std::uint8_t kRemoteOpen = 2;    ///< Of a request: more is to come.
inline constexpr std::uint8_t kNoData = 4;        ///< The payload is no message.

inline constexpr std::size_t kFrameHeaderBytes = 10;
/// The largest payload that is taken. ttrpc allows 4 MiB; nothing of ours needs a quarter of it, as
/// bulk data goes in pieces.
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{1} << 20;

struct FrameHeader {
  std::uint32_t length = 0;
  std::uint32_t stream = 0;
  std::uint8_t type = 0;  ///< A FrameType, or one that is not known yet.
  std::uint8_t flags = 0;
};

/// A whole frame. `payload` is the reader's, valid until its next call. Of an oversized one it is
/// empty, and all of it has been skipped or will be.
struct Frame {
  FrameHeader header;
  ConstBytes payload;
  bool oversized = false;
};

/// Puts frames together from a stream of bytes cut anywhere. Memory grows with what has come, not
/// with what a header announces.
class FrameReader {
 public:
  /// Where the next bytes are to be written, 4 KiB at least; then filled().
  Bytes space();
  void filled(std::size_t bytes);
  /// The next whole frame, if there is one.
  std::optional<Frame> next();
  /// In the midst of a frame.
  bool partial() const { return skip_ > 0 || begin_ < end_; }
  void reset();

 private:
  std::vector<std::uint8_t> buffer_;
  std::size_t begin_ = 0;  ///< Of what is not yet taken.
  std::size_t end_ = 0;
  std::size_t skip_ = 0;  ///< Bytes of an oversized payload that are still to come.
};

/// Appends a frame. `payload` is kMaxPayloadBytes at most.
void append_frame(std::vector<std::uint8_t>& out, const FrameHeader& header, ConstBytes payload);

}  // namespace sluice::agent::rpc
