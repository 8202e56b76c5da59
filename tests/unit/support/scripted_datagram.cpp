#include "support/scripted_datagram.h"

#include <utility>

namespace sluice::test {

void DatagramPeer::raise(SocketReady ready) {
  if (socket_) socket_->readiness_.raise(ready);
}

void DatagramPeer::feed(const Endpoint& from, std::string_view data, std::uint8_t ttl) {
  unread_.push_back({from, std::string(data), ttl});
  raise({.readable = true});
}

void DatagramPeer::feed_error(SocketError error) {
  errors_.push_back(std::move(error));
  raise({.readable = true, .writable = true, .error = true});
}

void DatagramPeer::set_send_room(std::size_t datagrams) {
  send_room_ = datagrams;
  if (datagrams > 0 && send_blocked_) {
    send_blocked_ = false;
    raise({.writable = true});
  }
}

ScriptedDatagram::ScriptedDatagram(Loop& loop, std::shared_ptr<DatagramPeer> peer)
    : peer_(std::move(peer)), readiness_(loop) {
  peer_->socket_ = this;
  readiness_.raise({.writable = true});
}

ScriptedDatagram::~ScriptedDatagram() {
  peer_->socket_ = nullptr;
  peer_->closed_ = true;
}

IoResult ScriptedDatagram::send_batch(std::span<const OutDatagram> datagrams) {
  std::size_t taken = 0;
  auto keep = peer_;
  for (const OutDatagram& datagram : datagrams) {
    if (int error = std::exchange(keep->send_error_, 0)) {
      if (taken > 0) keep->send_error_ = error;
      return taken > 0 ? IoResult{.bytes = taken} : IoResult{.error = error};
    }
    if (keep->send_room_ == 0) {
      keep->send_blocked_ = true;
      return taken > 0 ? IoResult{.bytes = taken} : IoResult{.error = EAGAIN};
    }
    --keep->send_room_;
    SentDatagram sent{datagram.peer, {}, ttl_};
    for (const iovec& piece : datagram.data) {
      sent.data.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    keep->sent.push_back(sent);
    ++taken;
    if (keep->on_send) keep->on_send(sent);
  }
  return {.bytes = taken};
}

InBatch ScriptedDatagram::receive_batch() {
  batch_.clear();
  views_.clear();
  constexpr std::size_t kMost = 32;
  while (!peer_->unread_.empty() && batch_.size() < kMost) {
    batch_.push_back(std::move(peer_->unread_.front()));
    peer_->unread_.pop_front();
  }
  for (const auto& waiting : batch_) {
    auto* data = reinterpret_cast<const std::uint8_t*>(waiting.data.data());
    views_.push_back({waiting.from, {data, waiting.data.size()}, waiting.ttl});
  }
  return {.datagrams = views_, .drained = views_.size() < kMost};
}

std::optional<SocketError> ScriptedDatagram::take_queued_error() {
  if (peer_->errors_.empty()) return std::nullopt;
  SocketError error = std::move(peer_->errors_.front());
  peer_->errors_.pop_front();
  return error;
}

}  // namespace sluice::test
