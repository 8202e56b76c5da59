#include "hostd/attach/vhost_user_channel.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "hostd/attach/guest_memory.h"

namespace sluice::hostd {

Status VhostUserChannel::read(std::size_t want) {
  while (have_.size() < want) {
    std::size_t before = have_.size();
    have_.resize(want);
    iovec piece{have_.data() + before, want - before};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * GuestMemory::kMaxRegions)> control;
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int error = errno;
    have_.resize(before + static_cast<std::size_t>(n > 0 ? n : 0));
    if (n == 0) return Status(StatusCode::closed, "it closed the socket");
    if (n < 0) {
      if (error == EINTR) continue;
      if (error == EAGAIN) return Status(StatusCode::would_block, "");
      return Status::from_errno(error, "receive a vhost-user message");
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
        fds_.emplace_back(fd);
      }
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0 || fds_.size() > GuestMemory::kMaxRegions) {
      return Status(StatusCode::invalid_argument, "a message came with too many descriptors");
    }
  }
  return Status::ok();
}

Result<std::optional<VhostUserMessage>> VhostUserChannel::receive() {
  auto pending = [](const Status& status) -> Result<std::optional<VhostUserMessage>> {
    if (status.code() == StatusCode::would_block) return std::optional<VhostUserMessage>();
    return status;
  };
  if (Status status = read(VhostUserHeader::kSize); !status) return pending(status);
  auto header = VhostUserHeader::read(have_);
  if (!header) return header.status();
  if (Status status = read(VhostUserHeader::kSize + header->payload_size); !status) {
    return pending(status);
  }
  VhostUserMessage message;
  message.header = *header;
  message.payload.assign(have_.begin() + VhostUserHeader::kSize, have_.end());
  message.fds = std::exchange(fds_, {});
  have_.clear();
  return std::optional<VhostUserMessage>(std::move(message));
}

Status VhostUserChannel::send(ConstBytes reply) {
  ssize_t n = ::send(socket_.get(), reply.data(), reply.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n == static_cast<ssize_t>(reply.size())) return Status::ok();
  return Status::from_errno(n < 0 ? errno : EMSGSIZE, "send a vhost-user reply");
}

}  // namespace sluice::hostd
