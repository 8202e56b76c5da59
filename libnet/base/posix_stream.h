#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>

#include "base/host_net.h"
#include "base/posix_source.h"

namespace sluice {

enum class StreamKind : std::uint8_t { tcp, unix_domain };

/// A connected or connecting stream socket. TCP: no Nagle, keep-alive after kKeepAliveIdle, urgent
/// bytes in line.
class PosixStream final : public StreamSocket {
 public:
  static Result<std::unique_ptr<StreamSocket>> dial_tcp(Poller& poller, const Endpoint& to,
                                                        unsigned link = 0);
  static Result<std::unique_ptr<StreamSocket>> dial_unix(Poller& poller, const std::string& path);
  /// Takes a connection that accept4() gave, non-blocking already.
  static Result<std::unique_ptr<StreamSocket>> adopt(Poller& poller, UniqueFd fd, StreamKind kind);

  PosixStream(Poller& poller, UniqueFd fd, StreamKind kind)
      : source_(poller, std::move(fd)), kind_(kind) {}

  void set_handler(SocketHandler* handler) override { source_.set_handler(handler); }
  int connect_result() override;
  IoResult send(std::span<const iovec> data) override;
  IoResult receive(std::span<const iovec> buffers) override;
  void shutdown_send() override;
  void reset_on_close() override;
  std::size_t pending_bytes() override;
  bool stops_early() const override { return source_.stops_early(); }
  bool can_peek() override;
  IoResult peek(std::size_t offset, std::span<const iovec> buffers) override;
  bool discard(std::size_t bytes) override;
  int take_error() override;
  std::optional<Endpoint> local() const override;
  std::optional<Endpoint> peer() const override;

 private:
  void connect(const sockaddr* address, unsigned size);

  PosixSource source_;
  StreamKind kind_;
  bool dialled_ = false;
  int dial_error_ = 0;
  /// The socket's SO_PEEK_OFF: where its next peek begins.
  std::size_t peek_at_ = 0;
};

/// The time without traffic after which the kernel asks whether the peer is still there.
inline constexpr int kKeepAliveIdleSeconds = 2 * 60 * 60;

}  // namespace sluice
