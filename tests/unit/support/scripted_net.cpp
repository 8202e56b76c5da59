#include "support/scripted_net.h"

#include <algorithm>

namespace sluice::test {

namespace {

template <typename Peers>
std::size_t count_open(const Peers& peers) {
  return static_cast<std::size_t>(
      std::count_if(peers.begin(), peers.end(), [](const auto& peer) { return !peer->closed(); }));
}

}  // namespace

std::size_t ScriptedNet::open_streams() const {
  return count_open(dials);
}

std::size_t ScriptedNet::open_datagrams() const {
  return count_open(datagrams);
}

Result<std::unique_ptr<StreamSocket>> ScriptedNet::dial(std::optional<Endpoint> to,
                                                        std::string path) {
  if (!dial_status) return dial_status;
  auto peer = std::make_shared<StreamPeer>();
  peer->remote = to;
  peer->path = std::move(path);
  if (to)
    peer->local = Endpoint{IpAddress::loopback(to->address.family()), Port(next_source_port_++)};
  dials.push_back(peer);
  auto socket = std::make_unique<ScriptedStream>(loop_, peer);
  if (on_dial) on_dial(*peer);
  return std::unique_ptr<StreamSocket>(std::move(socket));
}

Result<std::unique_ptr<StreamSocket>> ScriptedNet::dial_tcp(const Endpoint& to) {
  return dial(to, {});
}

Result<std::unique_ptr<StreamSocket>> ScriptedNet::dial_unix(const std::string& path) {
  return dial(std::nullopt, path);
}

Result<std::unique_ptr<ListenSocket>> ScriptedNet::listen(std::optional<Endpoint> at,
                                                          std::string path) {
  if (!listen_status) return listen_status;
  if (at && at->port.value() == 0) at->port = Port(next_listen_port_++);
  for (const auto& other : listeners) {
    if (!other->closed() && other->local == at && other->path == path) {
      return Status(StatusCode::already_exists, "listened on already");
    }
  }
  auto peer = std::make_shared<ListenPeer>();
  peer->local = at;
  peer->path = std::move(path);
  listeners.push_back(peer);
  return std::unique_ptr<ListenSocket>(std::make_unique<ScriptedListener>(loop_, peer));
}

Result<std::unique_ptr<ListenSocket>> ScriptedNet::listen_tcp(const Endpoint& at) {
  return listen(at, {});
}

Result<std::unique_ptr<StreamSocket>> ScriptedNet::adopt(UniqueFd) {
  auto socket = dial(std::nullopt, "");
  if (socket) dials.back()->connect();
  return socket;
}

Result<std::unique_ptr<ListenSocket>> ScriptedNet::listen_unix(const std::string& path) {
  return listen(std::nullopt, path);
}

std::unique_ptr<DatagramSocket> ScriptedNet::open_datagram(DatagramPeer::Kind kind,
                                                           const Endpoint& at) {
  auto peer = std::make_shared<DatagramPeer>();
  peer->kind = kind;
  peer->local = at;
  datagrams.push_back(peer);
  auto socket = std::make_unique<ScriptedDatagram>(loop_, peer);
  if (on_datagram_socket) on_datagram_socket(*peer);
  return socket;
}

Result<std::unique_ptr<DatagramSocket>> ScriptedNet::open_udp(const Endpoint& at) {
  if (!udp_status) return udp_status;
  Endpoint local = at;
  if (local.port.value() == 0) local.port = Port(next_udp_port_++);
  for (const auto& other : datagrams) {
    if (!other->closed() && other->kind == DatagramPeer::Kind::udp && other->local == local) {
      return Status(StatusCode::already_exists, "bound already");
    }
  }
  return open_datagram(DatagramPeer::Kind::udp, local);
}

Result<std::unique_ptr<DatagramSocket>> ScriptedNet::open_query(Family family) {
  return open_udp({IpAddress::any(family), Port()});
}

Result<std::unique_ptr<DatagramSocket>> ScriptedNet::open_ping(Family family) {
  if (!ping_status) return ping_status;
  return open_datagram(DatagramPeer::Kind::ping, {IpAddress::any(family), Port()});
}

}  // namespace sluice::test
