#include "flow/read_buffer.h"

#include <algorithm>
#include <cstdint>

namespace sluice::flow {

namespace {
/// Free chunks that are kept, so that a steady flow allocates nothing: 4 MiB.
constexpr std::size_t kKeptChunks = 16;
/// Below this a read would be cut into too small pieces: the rest of the chunk is left.
constexpr std::size_t kLeastSpace = 16 << 10;
}  // namespace

struct ReadBuffer::Chunk : Buffer {
  explicit Chunk(Pool* owner);
  Pool* pool;
  std::unique_ptr<std::uint8_t[]> memory;
};

struct ReadBuffer::Pool {
  std::vector<std::unique_ptr<Chunk>> free;
  std::size_t out = 0;
  bool closed = false;

  void put_back(Chunk* chunk) {
    std::unique_ptr<Chunk> owned(chunk);
    --out;
    if (closed) {
      owned.reset();
      if (out == 0) delete this;
    } else if (free.size() < kKeptChunks) {
      free.push_back(std::move(owned));
    }
  }
};

ReadBuffer::Chunk::Chunk(Pool* owner)
    : Buffer([](Buffer* buffer) {
        auto* chunk = static_cast<Chunk*>(buffer);
        chunk->pool->put_back(chunk);
      }),
      pool(owner),
      memory(std::make_unique_for_overwrite<std::uint8_t[]>(kChunkBytes)) {}

ReadBuffer::~ReadBuffer() {
  for (Piece& piece : pieces_) piece.buffer = BufferRef();
  current_ = BufferRef();
  next_ = BufferRef();
  if (!pool_) return;
  pool_->free.clear();
  pool_->closed = true;
  if (pool_->out == 0) delete pool_;
}

ReadBuffer::Chunk* ReadBuffer::allocate() {
  if (!pool_) pool_ = std::make_unique<Pool>().release();
  std::unique_ptr<Chunk> chunk;
  if (pool_->free.empty()) {
    chunk = std::make_unique<Chunk>(pool_);
  } else {
    chunk = std::move(pool_->free.back());
    pool_->free.pop_back();
  }
  ++pool_->out;
  return chunk.release();
}

std::span<const iovec> ReadBuffer::space(std::size_t most) {
  if (!current_ || kChunkBytes - used_ < kLeastSpace) {
    current_ = next_ ? std::move(next_) : BufferRef(allocate());
    used_ = 0;
  }
  std::size_t here = std::min(most, kChunkBytes - used_);
  space_[0] = {static_cast<Chunk*>(current_.get())->memory.get() + used_, here};
  if (here == most) return std::span(space_).first(1);
  if (!next_) next_ = BufferRef(allocate());
  space_[1] = {static_cast<Chunk*>(next_.get())->memory.get(), std::min(most - here, kChunkBytes)};
  return space_;
}

std::span<const ReadBuffer::Piece> ReadBuffer::take(std::size_t bytes) {
  std::size_t here = std::min(bytes, space_[0].iov_len);
  pieces_[0] = {current_, {static_cast<std::uint8_t*>(space_[0].iov_base), here}};
  used_ += here;
  if (here == bytes) return std::span(pieces_).first(1);
  pieces_[1] = {next_, {static_cast<std::uint8_t*>(space_[1].iov_base), bytes - here}};
  current_ = std::move(next_);
  next_ = BufferRef();
  used_ = bytes - here;
  return pieces_;
}

ConstBytes ReadBuffer::peek(std::size_t bytes) const {
  return {static_cast<std::uint8_t*>(space_[0].iov_base), bytes};
}

std::size_t ReadBuffer::chunks() const {
  return pool_ ? pool_->free.size() + pool_->out : 0;
}

}  // namespace sluice::flow
