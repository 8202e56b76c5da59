#include "agent/dns/upstream_call.h"

#include <algorithm>

namespace sluice::agent {

namespace {

constexpr std::size_t kQuestionCountAt = 4;
constexpr std::size_t kStreamRead = 4096;

iovec piece_of(ConstBytes bytes) {
  // iovec has no const form; sending does not write.
  return {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace

std::optional<wire::DnsQuestion> readable_question(ConstBytes message) {
  if (message.size() < wire::kDnsHeaderBytes || load_be16(&message[kQuestionCountAt]) != 1) {
    return std::nullopt;
  }
  auto read = wire::DnsName::read(message, wire::kDnsHeaderBytes);
  if (!read || message.size() - read->end < 4) return std::nullopt;
  return wire::DnsQuestion{std::move(read->name),
                           static_cast<wire::DnsType>(load_be16(&message[read->end])),
                           static_cast<wire::DnsClass>(load_be16(&message[read->end + 2]))};
}

UpstreamCall::UpstreamCall(HostNet& host, DnsCounters& counters, std::uint16_t id,
                           const Endpoint& server, ConstBytes query, dns::Transport transport,
                           Done done)
    : host_(host),
      counters_(counters),
      id_(id),
      server_(server),
      request_(wire::kDnsLengthPrefixBytes + query.size()),
      question_(readable_question(query)),
      transport_(transport),
      done_(std::move(done)) {
  store_be16(request_.data(), static_cast<std::uint16_t>(query.size()));
  std::copy(query.begin(), query.end(), request_.begin() + wire::kDnsLengthPrefixBytes);
  store_be16(&request_[wire::kDnsLengthPrefixBytes], id);
}

bool UpstreamCall::start() {
  return transport_ == dns::Transport::udp ? start_udp() : start_tcp();
}

bool UpstreamCall::start_udp() {
  auto socket = host_.open_query(server_.address.family());
  if (!socket) return false;
  udp_ = std::move(*socket);
  udp_->set_handler(this);
  iovec data = piece_of(ConstBytes(request_).subspan(wire::kDnsLengthPrefixBytes));
  OutDatagram datagram{server_, {&data, 1}};
  auto result = udp_->send_batch({&datagram, 1});
  return result.ok() || result.would_block();
}

bool UpstreamCall::start_tcp() {
  auto socket = host_.dial_tcp(server_);
  if (!socket) return false;
  ++counters_.upstream_tcp;
  udp_.reset();
  tcp_ = std::move(*socket);
  tcp_->set_handler(this);
  return true;
}

void UpstreamCall::retry_over_tcp() {
  if (!start_tcp()) finish({});
}

void UpstreamCall::on_socket_ready(SocketReady ready) {
  if (tcp_) return drive_tcp();
  if (ready.error && udp_->take_queued_error()) return finish({});
  if (ready.readable) read_datagrams();
}

bool UpstreamCall::matches(ConstBytes reply) const {
  auto header = wire::DnsMessage::parse_header(reply);
  if (!header || !header->response || header->id != id_) return false;
  if (!question_) return true;
  auto echoed = readable_question(reply);
  return echoed && echoed->type == question_->type && echoed->klass == question_->klass &&
         echoed->name.same_as(question_->name);
}

void UpstreamCall::read_datagrams() {
  for (;;) {
    auto batch = udp_->receive_batch().datagrams;
    if (batch.empty()) return;
    for (const InDatagram& datagram : batch) {
      if (datagram.peer != server_ || !matches(datagram.data)) {
        ++counters_.upstream_forged;
        ++forged_;
        continue;
      }
      if (wire::DnsMessage::parse_header(datagram.data)->truncated) return retry_over_tcp();
      return finish(datagram.data);
    }
    if (forged_ > kMostForged) return retry_over_tcp();
  }
}

void UpstreamCall::drive_tcp() {
  if (!connected_) {
    if (tcp_->connect_result() != 0) return finish({});
    connected_ = true;
  }
  if (sent_ < request_.size()) {
    send_stream();
  } else {
    read_stream();
  }
}

void UpstreamCall::send_stream() {
  while (sent_ < request_.size()) {
    iovec data = piece_of(ConstBytes(request_).subspan(sent_));
    auto result = tcp_->send({&data, 1});
    if (result.would_block()) return;
    if (!result.ok()) return finish({});
    sent_ += result.bytes;
  }
  read_stream();
}

void UpstreamCall::read_stream() {
  for (;;) {
    std::uint8_t piece[kStreamRead];
    iovec room{piece, sizeof piece};
    auto result = tcp_->receive({&room, 1});
    if (result.would_block()) return;
    if (!result.ok() || result.bytes == 0) return finish({});
    received_.insert(received_.end(), piece, piece + result.bytes);
    if (received_.size() < wire::kDnsLengthPrefixBytes) continue;
    std::size_t length = load_be16(received_.data());
    if (received_.size() - wire::kDnsLengthPrefixBytes < length) continue;
    auto reply = ConstBytes(received_).subspan(wire::kDnsLengthPrefixBytes, length);
    return finish(matches(reply) ? reply : ConstBytes());
  }
}

void UpstreamCall::finish(ConstBytes reply) {
  // The callee may destroy this object, and the sockets whose memory `reply` is in.
  std::vector<std::uint8_t> kept(reply.begin(), reply.end());
  auto done = std::move(done_);
  udp_.reset();
  tcp_.reset();
  done(std::move(kept));
}

}  // namespace sluice::agent
