#pragma once

#include <memory>
#include <string>

#include "base/host_net.h"
#include "base/posix_source.h"
#include "base/posix_stream.h"
#include "base/posix_unix.h"

namespace sluice {

/// A listening TCP or Unix stream socket.
class PosixListener final : public ListenSocket {
 public:
  static Result<std::unique_ptr<ListenSocket>> tcp(Poller& poller, const Endpoint& at);
  static Result<std::unique_ptr<ListenSocket>> unix_domain(Poller& poller, const std::string& path);

  PosixListener(Poller& poller, UniqueFd fd, StreamKind kind, UnixSocketFile file);

  void set_handler(SocketHandler* handler) override { source_.set_handler(handler); }
  Accepted accept() override;
  std::optional<Endpoint> local() const override;

 private:
  static Result<std::unique_ptr<ListenSocket>> listen(Poller& poller, UniqueFd fd, StreamKind kind,
                                                      UnixSocketFile file,
                                                      const std::string& where);

  Poller& poller_;
  UnixSocketFile file_;
  PosixSource source_;
  StreamKind kind_;
  std::unique_ptr<Timer> retry_;
};

}  // namespace sluice
