#include "agent/dns/dns_session.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kRead = 4096;

}  // namespace

DnsSession::DnsSession(Loop& loop, std::unique_ptr<StreamSocket> socket, DnsAsker asker,
                       const DnsAnswer& answer, std::function<void()> on_end)
    : loop_(loop),
      socket_(std::move(socket)),
      asker_(std::move(asker)),
      answer_(answer),
      on_end_(std::move(on_end)),
      idle_(loop.make_timer([this] {
        broken_ = true;
        end_later();
      })) {
  idle_->start(kIdle);
  socket_->set_handler(this);
}

DnsSession::~DnsSession() {
  *self_ = nullptr;
}

void DnsSession::on_socket_ready(SocketReady) {
  pump();
}

void DnsSession::pump() {
  // An answer that comes at once would come back here.
  if (pumping_ || ending_) return;
  pumping_ = true;
  bool moved = true;
  while (moved && !broken_) {
    moved = write_some();
    moved |= take_queries();
    if (!broken_ && !end_seen_ && open_ < kMaxOpen && unsent_.size() < kMaxUnsent) {
      moved |= read_some();
    }
  }
  pumping_ = false;
  if (broken_ || (end_seen_ && open_ == 0 && unsent_.empty())) end_later();
}

bool DnsSession::read_some() {
  std::uint8_t piece[kRead];
  iovec room{piece, sizeof piece};
  auto result = socket_->receive({&room, 1});
  if (result.would_block()) return false;
  if (!result.ok()) broken_ = true;
  if (result.ok() && result.bytes == 0) end_seen_ = true;
  received_.insert(received_.end(), piece, piece + result.bytes);
  return result.bytes > 0;
}

bool DnsSession::take_queries() {
  std::size_t at = 0;
  while (!broken_ && open_ < kMaxOpen && unsent_.size() < kMaxUnsent &&
         received_.size() - at >= wire::kDnsLengthPrefixBytes) {
    std::size_t length = load_be16(&received_[at]);
    if (received_.size() - at - wire::kDnsLengthPrefixBytes < length) break;
    idle_->start(kIdle);
    ++open_;
    answer_(ConstBytes(received_).subspan(at + wire::kDnsLengthPrefixBytes, length), asker_,
            [self = self_](std::vector<std::uint8_t> reply) {
              if (*self) (*self)->on_reply(std::move(reply));
            });
    at += wire::kDnsLengthPrefixBytes + length;
  }
  received_.erase(received_.begin(), received_.begin() + static_cast<long>(at));
  return at > 0;
}

void DnsSession::on_reply(std::vector<std::uint8_t> reply) {
  --open_;
  if (reply.empty()) {
    broken_ = true;
  } else {
    std::uint8_t prefix[wire::kDnsLengthPrefixBytes];
    store_be16(prefix, static_cast<std::uint16_t>(reply.size()));
    unsent_.insert(unsent_.end(), prefix, prefix + wire::kDnsLengthPrefixBytes);
    unsent_.insert(unsent_.end(), reply.begin(), reply.end());
  }
  pump();
}

bool DnsSession::write_some() {
  if (unsent_.empty()) return false;
  iovec data{unsent_.data(), unsent_.size()};
  auto result = socket_->send({&data, 1});
  if (result.would_block()) return false;
  if (!result.ok()) {
    broken_ = true;
    return false;
  }
  unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<long>(result.bytes));
  idle_->start(kIdle);
  return result.bytes > 0;
}

void DnsSession::end_later() {
  if (ending_) return;
  ending_ = true;
  idle_->stop();
  loop_.defer([self = self_] {
    if (!*self) return;
    auto on_end = std::move((*self)->on_end_);
    on_end();
  });
}

}  // namespace sluice::agent
