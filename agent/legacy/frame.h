#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace sluice::agent::legacy {

/// A frame of the older framing: u32 length of what follows it, u32 type, payload; big-endian.
inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kTypeBytes = 4;
/// The largest payload that is taken.
inline constexpr std::size_t kMaxPayload = std::size_t{1} << 20;

/// A whole frame. `payload` is the reader's, valid until its next call.
struct Frame {
  enum class Fault : std::uint8_t {
    none,
    oversized,  ///< All of it has been skipped or will be; the payload is empty.
    cut,        ///< It has no room for a type. What follows can't be told apart any more.
  };
  std::uint32_t type = 0;
  ConstBytes payload;
  Fault fault = Fault::none;
};

/// Puts frames together from a stream of bytes cut anywhere. Memory grows with what has come, not
/// with what a header announces.
class FrameReader {
 public:
  void append(ConstBytes bytes);
  /// The next whole frame, if there is one. After one that is cut there is none.
  std::optional<Frame> next();
  /// Bytes of frames that are not whole yet.
  std::size_t waiting() const { return buffer_.size() - begin_; }

 private:
  std::vector<std::uint8_t> buffer_;
  std::size_t begin_ = 0;   ///< Of what is not yet taken.
  std::uint64_t skip_ = 0;  ///< Bytes of an oversized frame that are still to come.
  bool cut_ = false;
};

/// Appends a frame. `payload` has kMaxPayload bytes at most.
void append_frame(std::vector<std::uint8_t>& out, std::uint32_t type, ConstBytes payload);
/// Appends the frame of an error, which is no protobuf: i32 code, u32 length, text.
void append_error(std::vector<std::uint8_t>& out, std::int32_t code, std::string_view text);

}  // namespace sluice::agent::legacy
