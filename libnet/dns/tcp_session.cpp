#include "dns/tcp_session.h"

#include <cerrno>
#include <cstring>

#include <algorithm>

#include "base/bytes.h"

namespace sluice::dns {

namespace {}  // namespace

TcpSession::TcpSession(Loop& loop, const Client& client, Ask ask)
    : loop_(loop),
      client_(client),
      ask_(std::move(ask)),
      idle_(loop.make_timer([this] { end(); })),
      self_(std::make_shared<TcpSession*>(this)) {
  idle_->start(kIdle);
}

TcpSession::~TcpSession() {
  *self_ = nullptr;
}

void TcpSession::set_handler(SocketHandler* handler) {
  handler_ = handler;
  if (handler_) notify();
}

IoResult TcpSession::send(std::span<const iovec> data) {
  if (ended_ || send_shut_) return {0, EPIPE};
  if (untaken_.size() == kMaxUntakenBytes) return {0, EAGAIN};
  IoResult result;
  for (const auto& piece : data) {
    auto* bytes = static_cast<const std::uint8_t*>(piece.iov_base);
    std::size_t taken = std::min(kMaxUntakenBytes - untaken_.size(), piece.iov_len);
    untaken_.insert(untaken_.end(), bytes, bytes + taken);
    result.bytes += taken;
  }
  take_queries();
  return result;
}

IoResult TcpSession::receive(std::span<const iovec> buffers) {
  IoResult result;
  for (const auto& buffer : buffers) {
    auto* out = static_cast<std::uint8_t*>(buffer.iov_base);
    for (std::size_t filled = 0; filled < buffer.iov_len && !unread_.empty();) {
      const auto& front = unread_.front();
      std::size_t count = std::min(buffer.iov_len - filled, front.size() - unread_offset_);
      std::memcpy(out + filled, front.data() + unread_offset_, count);
      filled += count;
      result.bytes += count;
      unread_offset_ += count;
      if (unread_offset_ < front.size()) continue;
      unread_.pop_front();
      unread_offset_ = 0;
    }
  }
  unread_bytes_ -= result.bytes;
  if (result.bytes == 0) {
    if (!at_end()) result.error = EAGAIN;
    return result;
  }
  if (!ended_) idle_->start(kIdle);
  take_queries();
  return result;
}

void TcpSession::shutdown_send() {
  send_shut_ = true;
  take_queries();
  if (at_end()) notify();
}

void TcpSession::take_queries() {
  // A reply that comes at once would come back here.
  if (taking_) return;
  taking_ = true;
  std::size_t at = 0;
  while (may_take() && untaken_.size() - at >= wire::kDnsLengthPrefixBytes) {
    std::size_t length = load_be16(&untaken_[at]);
    if (untaken_.size() - at - wire::kDnsLengthPrefixBytes < length) break;
    idle_->start(kIdle);
    ++open_queries_;
    ask_(ConstBytes(untaken_).subspan(at + wire::kDnsLengthPrefixBytes, length),
         [self = self_](std::vector<std::uint8_t> reply) {
           if (*self) (*self)->on_reply(std::move(reply));
         });
    at += wire::kDnsLengthPrefixBytes + length;
  }
  taking_ = false;
  bool was_full = untaken_.size() == kMaxUntakenBytes;
  untaken_.erase(untaken_.begin(), untaken_.begin() + static_cast<long>(at));
  if (was_full && at > 0) notify();
}

bool TcpSession::may_take() const {
  return !ended_ && open_queries_ < kMaxOpenQueries && unread_bytes_ < kMaxUnreadBytes;
}

void TcpSession::on_reply(std::vector<std::uint8_t> reply) {
  --open_queries_;
  if (ended_) return;
  if (reply.empty()) return end();
  std::uint8_t prefix[wire::kDnsLengthPrefixBytes];
  store_be16(prefix, static_cast<std::uint16_t>(reply.size()));
  reply.insert(reply.begin(), prefix, prefix + wire::kDnsLengthPrefixBytes);
  unread_bytes_ += reply.size();
  unread_.push_back(std::move(reply));
  notify();
  take_queries();
}

void TcpSession::end() {
  ended_ = true;
  idle_->stop();
  notify();
}

bool TcpSession::at_end() const {
  return unread_.empty() && (ended_ || (send_shut_ && open_queries_ == 0));
}

void TcpSession::notify() {
  if (notifying_) return;
  notifying_ = true;
  loop_.defer([self = self_] {
    if (!*self) return;
    TcpSession& session = **self;
    session.notifying_ = false;
    SocketReady ready;
    ready.readable = !session.unread_.empty() || session.at_end();
    ready.writable = session.ended_ || session.untaken_.size() < kMaxUntakenBytes;
    if (session.handler_ && (ready.readable || ready.writable)) {
      session.handler_->on_socket_ready(ready);
    }
  });
}

}  // namespace sluice::dns
