#include "base/posix_net.h"

#include "base/posix_listen.h"
#include "base/posix_stream.h"

namespace sluice {

Result<std::unique_ptr<StreamSocket>> PosixNet::dial_tcp(const Endpoint& to) {
  return PosixStream::dial_tcp(poller_, to, batch_.link);
}

Result<std::unique_ptr<StreamSocket>> PosixNet::dial_unix(const std::string& path) {
  return PosixStream::dial_unix(poller_, path);
}

Result<std::unique_ptr<StreamSocket>> PosixNet::adopt(UniqueFd fd) {
  return PosixStream::adopt(poller_, std::move(fd), StreamKind::unix_domain);
}

Result<std::unique_ptr<ListenSocket>> PosixNet::listen_tcp(const Endpoint& at) {
  return PosixListener::tcp(poller_, at);
}

Result<std::unique_ptr<ListenSocket>> PosixNet::listen_unix(const std::string& path) {
  return PosixListener::unix_domain(poller_, path);
}

Result<std::unique_ptr<DatagramSocket>> PosixNet::open_udp(const Endpoint& at) {
  return PosixDatagram::udp(poller_, batch_, at);
}

Result<std::unique_ptr<DatagramSocket>> PosixNet::open_query(Family family) {
  return PosixDatagram::query(poller_, batch_, family);
}

Result<std::unique_ptr<DatagramSocket>> PosixNet::open_ping(Family family) {
  return PosixDatagram::ping(poller_, batch_, family);
}

}  // namespace sluice
