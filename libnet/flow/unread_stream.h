#pragma once

#include <cstdint>

#include "base/host_net.h"
#include "base/unread_bytes.h"

namespace sluice::flow {

/// What a host socket has received and keeps until the guest has acknowledged it, so that it is
/// copied once, from the socket to the guest's memory, again where the guest asks again.
///
///     position   begin .. discarded    gone
///                      .. shown        the guest's to take; it has not acknowledged it
///                      .. all of it    fresh
class UnreadStream final : public UnreadSource {
 public:
  /// `socket` has can_peek(), stays, and is read by nobody else meanwhile.
  UnreadStream(StreamSocket& socket, std::uint64_t begin)
      : socket_(socket), discarded_(begin), shown_(begin) {}

  /// As StreamSocket::receive(), of what is fresh, but nothing is copied: `bytes` of it, at most
  /// `most`, may be show()n. `most` is not 0.
  IoResult look(std::size_t most);
  /// The first fresh bytes are the guest's to take; the position of the first.
  std::uint64_t show(std::size_t bytes);
  /// The oldest that were shown are needed no more. False where the socket did not have them.
  bool discard(std::size_t bytes);
  /// All that was shown is discarded.
  bool empty() const { return shown_ == discarded_; }

  bool copy(std::uint64_t position, std::span<const iovec> to) override;

 private:
  std::size_t waiting() const { return static_cast<std::size_t>(shown_ - discarded_); }

  StreamSocket& socket_;
  std::uint64_t discarded_;
  std::uint64_t shown_;
};

}  // namespace sluice::flow
