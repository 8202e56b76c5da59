#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/host_net.h"

namespace sluice::flow {

/// Memory into which host sockets are read, shared by all flows of a Network: one chunk is filled
/// after the other, and each read holds a reference to the chunks that it lies in. Idle flows so
/// hold nothing. Small reads are to be copied out by the caller and given back with take(0).
class ReadBuffer {
 public:
  static constexpr std::size_t kChunkBytes = 256 << 10;
  /// Reads of up to this size should be copied, so that a slow flow pins no chunk with a few bytes.
  static constexpr std::size_t kCopyBytes = 4096;

  ReadBuffer() = default;
  ~ReadBuffer();
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  struct Piece {
    BufferRef buffer;
    ConstBytes bytes;
  };

  /// Where the next read may go: one or two iovecs, `most` bytes at most. Valid until take().
  std::span<const iovec> space(std::size_t most);
  /// The first `bytes` of space() as pieces; they are used up. Valid until the next call.
  std::span<const Piece> take(std::size_t bytes);
  /// The first bytes of space(), which stay free for the next read. All in one piece.
  ConstBytes peek(std::size_t bytes) const;

  /// Chunks that exist, in use or kept for use.
  std::size_t chunks() const;

 private:
  struct Chunk;
  struct Pool;
  Chunk* allocate();

  /// Outlives the ReadBuffer while chunks are out.
  Pool* pool_ = nullptr;
  BufferRef current_;
  BufferRef next_;
  std::size_t used_ = 0;  ///< Of current_.
  std::array<iovec, 2> space_{};
  std::array<Piece, 2> pieces_;
};

}  // namespace sluice::flow
