#include "agent/dns/dns_listener.h"

#include <algorithm>

namespace sluice::agent {

namespace {

/// Batches of datagrams in one turn of the loop, so that a flood leaves room for others.
constexpr int kMaxBatches = 16;
/// A socket that says so often that it failed, without an error to take or a datagram between, is
/// of no use any more.
constexpr int kMostEmptyErrors = 8;
constexpr int kMostQueuedErrors = 256;
constexpr int kMostAccepts = 64;

}  // namespace

bool DnsSessions::add(std::unique_ptr<StreamSocket> socket, const DnsAsker& asker,
                      const DnsAnswer& answer) {
  std::size_t& own = of_client_[asker.address];
  if (sessions_.size() >= kMax || own >= kMaxPerClient) {
    if (own == 0) of_client_.erase(asker.address);
    socket->reset_on_close();
    return false;
  }
  ++own;
  auto at = sessions_.emplace(sessions_.end());
  *at = std::make_unique<DnsSession>(loop_, std::move(socket), asker, answer, [this, at] {
    auto client = of_client_.find((*at)->client());
    if (--client->second == 0) of_client_.erase(client);
    sessions_.erase(at);
  });
  return true;
}

DnsListener::DnsListener(Shared& shared, const Endpoint& at, std::string network)
    : shared_(shared),
      at_(at),
      network_(std::move(network)),
      retry_(shared.loop.make_timer([this] { open(); })) {
  asker_.network = network_;
  asker_.server = at.address;
}

DnsListener::~DnsListener() {
  *self_ = nullptr;
}

void DnsListener::open() {
  auto udp = shared_.host.open_udp(at_);
  if (!udp) return fail(udp.status().message());
  auto tcp = shared_.host.listen_tcp(at_);
  if (!tcp) return fail(tcp.status().message());
  udp_ = std::move(*udp);
  tcp_ = std::move(*tcp);
  udp_->set_handler(this);
  tcp_->set_handler(&door_);
  problem_.clear();
  retry_after_ = kFirstRetry;
  empty_errors_ = 0;
  if (shared_.on_change) shared_.on_change();
}

void DnsListener::fail(std::string why) {
  bool served = serving();
  udp_.reset();
  tcp_.reset();
  problem_ = std::move(why);
  retry_->start(retry_after_);
  retry_after_ = std::min(retry_after_ * 2, kLastRetry);
  if (served && shared_.on_change) shared_.on_change();
}

void DnsListener::on_socket_ready(SocketReady ready) {
  if (ready.error) {
    // Mostly of a client that has gone before its answer came.
    int taken = 0;
    while (taken < kMostQueuedErrors && udp_->take_queued_error()) ++taken;
    empty_errors_ = taken == 0 ? empty_errors_ + 1 : 0;
    if (empty_errors_ >= kMostEmptyErrors) {
      ++shared_.counters.rebinds;
      return fail("the socket has failed");
    }
  }
  if (ready.readable && !reading_) read_datagrams();
}

void DnsListener::read_datagrams() {
  reading_ = true;
  for (int batches = 0; batches < kMaxBatches; ++batches) {
    auto batch = udp_->receive_batch().datagrams;
    if (batch.empty()) {
      reading_ = false;
      return;
    }
    empty_errors_ = 0;
    for (const InDatagram& datagram : batch) {
      asker_.address = datagram.peer.address;
      asker_.transport = dns::Transport::udp;
      ++shared_.counters.udp_queries;
      shared_.answer(datagram.data, asker_,
                     [self = self_, to = datagram.peer](std::vector<std::uint8_t> reply) {
                       if (*self && !reply.empty()) (*self)->send(to, std::move(reply));
                     });
    }
    flush();
  }
  shared_.loop.defer([self = self_] {
    if (*self && (*self)->udp_) {
      (*self)->read_datagrams();
    } else if (*self) {
      (*self)->reading_ = false;
    }
  });
}

void DnsListener::send(const Endpoint& to, std::vector<std::uint8_t> reply) {
  outgoing_.push_back({to, std::move(reply)});
  if (!reading_) flush();
}

void DnsListener::flush() {
  std::vector<iovec> pieces(outgoing_.size());
  std::vector<OutDatagram> datagrams;
  for (std::size_t i = 0; i < outgoing_.size(); ++i) {
    pieces[i] = {outgoing_[i].message.data(), outgoing_[i].message.size()};
    datagrams.push_back({outgoing_[i].to, {&pieces[i], 1}});
  }
  std::size_t done = 0;
  while (udp_ && done < datagrams.size()) {
    auto result = udp_->send_batch(std::span(datagrams).subspan(done));
    done += result.bytes;
    if (result.ok() && result.bytes > 0) continue;
    // Only what can't be sent is lost: what comes after it may have another way.
    ++shared_.counters.replies_lost;
    ++done;
  }
  outgoing_.clear();
}

void DnsListener::accept() {
  for (int taken = 0; tcp_ && taken < kMostAccepts; ++taken) {
    auto accepted = tcp_->accept();
    if (!accepted.socket) return;
    auto peer = accepted.socket->peer();
    if (!peer) continue;
    DnsAsker asker = asker_;
    asker.address = peer->address;
    asker.transport = dns::Transport::tcp;
    if (!shared_.sessions.add(std::move(accepted.socket), asker, shared_.answer)) {
      ++shared_.counters.sessions_refused;
    }
  }
  shared_.loop.defer([self = self_] {
    if (*self) (*self)->accept();
  });
}

}  // namespace sluice::agent
