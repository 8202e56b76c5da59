#include "flow/unread_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/pieces.h"

namespace sluice::flow {

IoResult UnreadStream::look(std::size_t most) {
  std::size_t pending = socket_.pending_bytes();
  if (pending <= waiting()) {
    // Nothing, or the end, or what came just now.
    std::uint8_t byte = 0;
    iovec piece{&byte, 1};
    return socket_.peek(waiting(), {&piece, 1});
  }
  std::size_t fresh = pending - waiting();
  return {.bytes = std::min(fresh, most), .drained = fresh < most && !socket_.stops_early()};
}

std::uint64_t UnreadStream::show(std::size_t bytes) {
  return std::exchange(shown_, shown_ + bytes);
}

bool UnreadStream::discard(std::size_t bytes) {
  discarded_ += bytes;
  return socket_.discard(bytes);
}

bool UnreadStream::copy(std::uint64_t position, std::span<const iovec> to) {
  if (position < discarded_) return false;
  std::size_t size = total_size(to);
  if (position + size > shown_) return false;
  auto offset = static_cast<std::size_t>(position - discarded_);
  IoResult result = socket_.peek(offset, to);
  if (result.ok() && result.bytes == size) return true;
  // It stopped on its way: as many calls as it takes.
  std::vector<iovec> left(to.begin(), to.end());
  for (std::span<iovec> rest = left; result.ok() && result.bytes > 0;) {
    offset += result.bytes;
    size -= result.bytes;
    if (size == 0) return true;
    for (std::size_t skip = result.bytes; skip > 0;) {
      std::size_t here = std::min(skip, rest.front().iov_len);
      rest.front() = {static_cast<std::uint8_t*>(rest.front().iov_base) + here,
                      rest.front().iov_len - here};
      skip -= here;
      if (rest.front().iov_len == 0) rest = rest.subspan(1);
    }
    result = socket_.peek(offset, rest);
  }
  return false;
}

}  // namespace sluice::flow
