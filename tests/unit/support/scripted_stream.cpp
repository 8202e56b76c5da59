#include "support/scripted_stream.h"

#include <algorithm>
#include <cstring>

namespace sluice::test {

void StreamPeer::raise(SocketReady ready) {
  if (socket_) socket_->readiness_.raise(ready);
}

void StreamPeer::raise_current() {
  bool failed = state_ == State::failed;
  raise({.readable = failed || end_fed_ || !unread_.empty(), .writable = true, .error = failed});
}

void StreamPeer::connect() {
  if (state_ != State::dialling) return;
  state_ = State::connected;
  raise({.writable = true});
}

void StreamPeer::refuse(int error) {
  if (state_ != State::dialling) return;
  state_ = State::failed;
  error_ = error;
  raise({.readable = true, .writable = true, .error = true});
}

void StreamPeer::feed(std::string_view bytes) {
  unread_ += bytes;
  raise({.readable = true});
}

void StreamPeer::feed_end() {
  end_fed_ = true;
  raise({.readable = true});
}

void StreamPeer::reset(int error) {
  state_ = State::failed;
  error_ = error;
  unread_.clear();
  raise({.readable = true, .writable = true, .error = true});
}

void StreamPeer::fail_after_unread(int error) {
  state_ = State::failed;
  late_error_ = error;
  raise({.readable = true, .writable = true, .error = true});
}

void StreamPeer::set_send_room(std::size_t bytes) {
  send_room_ = bytes;
  if (bytes > 0 && send_blocked_) {
    send_blocked_ = false;
    raise({.writable = true});
  }
}

ScriptedStream::ScriptedStream(Loop& loop, std::shared_ptr<StreamPeer> peer)
    : peer_(std::move(peer)), readiness_(loop) {
  peer_->socket_ = this;
}

ScriptedStream::~ScriptedStream() {
  peer_->socket_ = nullptr;
  peer_->closed_ = true;
  peer_->was_reset_ = peer_->reset_on_close_;
}

int ScriptedStream::connect_result() {
  if (peer_->state_ == StreamPeer::State::dialling) return EINPROGRESS;
  return peer_->error_;
}

IoResult ScriptedStream::send(std::span<const iovec> data) {
  if (peer_->state_ == StreamPeer::State::dialling) return {.error = EAGAIN};
  if (int error = take_error()) return {.error = error};
  if (peer_->saw_end_ || peer_->state_ == StreamPeer::State::failed) return {.error = EPIPE};
  std::size_t taken = 0, offered = 0;
  for (const iovec& piece : data) {
    std::size_t n = std::min(piece.iov_len, peer_->send_room_);
    peer_->sent_.append(static_cast<const char*>(piece.iov_base), n);
    if (peer_->send_room_ != kUnlimited) peer_->send_room_ -= n;
    taken += n;
    offered += piece.iov_len;
  }
  if (taken < offered) peer_->send_blocked_ = true;
  if (taken == 0 && offered > 0) return {.error = EAGAIN};
  auto keep = peer_;
  if (taken > 0 && keep->on_send) keep->on_send(*keep);
  return {.bytes = taken, .drained = taken < offered};
}

IoResult ScriptedStream::peek(std::size_t offset, std::span<const iovec> buffers) {
  if (int error = take_error()) return {.error = error};
  std::string_view unread = peer_->unread_;
  unread.remove_prefix(std::min(offset, unread.size()));
  if (unread.empty() && peer_->late_error_ != 0) return {.error = peer_->late_error_};
  if (unread.empty()) return {.error = stops_early() ? 0 : EAGAIN};
  std::size_t given = 0;
  std::size_t most = std::min(unread.size(), peer_->receive_limit_);
  for (const iovec& piece : buffers) {
    std::size_t n = std::min(piece.iov_len, most - given);
    std::memcpy(piece.iov_base, unread.data() + given, n);
    given += n;
  }
  if (given == 0) return {.error = EAGAIN};
  return {.bytes = given};
}

bool ScriptedStream::discard(std::size_t bytes) {
  if (bytes > peer_->unread_.size()) return false;
  peer_->unread_.erase(0, bytes);
  return true;
}

IoResult ScriptedStream::receive(std::span<const iovec> buffers) {
  IoResult result = peek(0, buffers);
  if (!result.ok() || result.bytes == 0) return result;
  discard(result.bytes);
  std::size_t room = 0;
  for (const iovec& piece : buffers) room += piece.iov_len;
  result.drained = result.bytes < room && peer_->unread_.empty() && !peer_->end_fed_;
  return result;
}

std::shared_ptr<StreamPeer> ListenPeer::connect(const Endpoint& from) {
  auto client = std::make_shared<StreamPeer>();
  client->remote = from;
  client->local = local;
  client->connect();
  backlog_.push_back(client);
  if (socket_) socket_->readiness_.raise({.readable = true});
  return client;
}

void ListenPeer::fail_accept(int error) {
  accept_error_ = error;
  if (socket_) socket_->readiness_.raise({.readable = true});
}

ScriptedListener::ScriptedListener(Loop& loop, std::shared_ptr<ListenPeer> peer)
    : loop_(loop), peer_(std::move(peer)), readiness_(loop) {
  peer_->socket_ = this;
}

ScriptedListener::~ScriptedListener() {
  peer_->socket_ = nullptr;
}

ListenSocket::Accepted ScriptedListener::accept() {
  if (int error = std::exchange(peer_->accept_error_, 0)) return {nullptr, error};
  if (peer_->backlog_.empty()) return {nullptr, EAGAIN};
  auto client = std::move(peer_->backlog_.front());
  peer_->backlog_.pop_front();
  auto socket = std::make_unique<ScriptedStream>(loop_, client);
  client->raise_current();
  return {std::move(socket), 0};
}

}  // namespace sluice::test
