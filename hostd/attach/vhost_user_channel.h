#pragma once

#include <net/status.h>

#include <optional>

#include "hostd/attach/vhost_user_message.h"

namespace sluice::hostd {

/// The connection of a vhost-user front end: its messages, whole and with their descriptors. On the
/// loop's thread.
class VhostUserChannel {
 public:
  /// `socket` does not block.
  explicit VhostUserChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  /// The next message; nothing if it is not there yet, or not all of it. An error says why no more
  /// can come.
  Result<std::optional<VhostUserMessage>> receive();
  /// Replies are short and front ends wait for each: one that does not fit ends the connection.
  Status send(ConstBytes reply);

 private:
  Status read(std::size_t want);

  UniqueFd socket_;
  std::vector<std::uint8_t> have_;  ///< Of the message being received.
  std::vector<UniqueFd> fds_;
};

}  // namespace sluice::hostd
