#include "dns/exchange.h"

#include <algorithm>
#include <cstring>

namespace sluice::dns {

using wire::DnsMessage;

namespace {

/// A resolver sends one answer. So many others are an attack, and a TCP handshake ends it.
constexpr int kForgedTolerated = 16;
constexpr std::size_t kStreamReadBytes = 4096;
constexpr std::string_view kNoSocket = "no TCP socket could be had";
constexpr std::string_view kCutOff = "the TCP connection ended before the answer";

iovec to_iovec(ConstBytes bytes) {
  // iovec has no const form; sending does not write.
  return {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace

Exchange::Exchange(HostNet& host, QuerySockets& sockets, Counters& counters,
                   const RandomSource& random, const Endpoint& upstream, const Question& question,
                   Done done)
    : host_(host),
      sockets_(sockets),
      counters_(counters),
      upstream_(upstream),
      question_{question.name.with_case(random()), question.type, wire::DnsClass::internet},
      id_(static_cast<std::uint16_t>(random())),
      done_(std::move(done)),
      request_(encode_query(id_, question_, Privacy::clear)) {}

bool Exchange::start() {
  udp_ = sockets_.take(upstream_.address.family());
  if (!udp_) return false;
  udp_->socket->set_handler(this);
  ++counters_.upstream_queries;
  return send_datagram();
}

std::string Exchange::waits_for() const {
  return udp_ || tcp_ ? "no answer in time" : "no socket could be had";
}

bool Exchange::send_datagram() {
  iovec data = to_iovec(ConstBytes(request_).subspan(wire::kDnsLengthPrefixBytes));
  OutDatagram datagram{upstream_, {&data, 1}};
  auto result = udp_->socket->send_batch({&datagram, 1});
  // A full send queue loses the datagram like any other way would; the owner asks again.
  return result.ok() || result.would_block();
}

void Exchange::on_socket_ready(SocketReady ready) {
  if (tcp_) return drive_tcp();
  if (ready.error) {
    if (auto error = udp_->socket->take_queued_error()) return fail(std::strerror(error->error));
  }
  if (ready.readable) read_datagrams();
}

void Exchange::read_datagrams() {
  for (;;) {
    auto batch = udp_->socket->receive_batch().datagrams;
    if (batch.empty()) return;
    for (const auto& datagram : batch) {
      auto message = DnsMessage::parse(datagram.data);
      if (datagram.peer != upstream_ || !message || !is_reply_to(*message, id_, question_)) {
        ++counters_.upstream_forged;
        if (++forged_ <= kForgedTolerated) continue;
        if (!start_tcp()) fail(kNoSocket);
        return;
      }
      bool case_kept = message->questions()[0].name == question_.name;
      if (!case_kept || message->header().truncated) {
        if (!start_tcp()) fail(kNoSocket);
        return;
      }
      reusable_ = batch.size() == 1 && forged_ == 0;
      take_answer(*message);
      return;
    }
  }
}

bool Exchange::start_tcp() {
  auto socket = host_.dial_tcp(upstream_);
  if (!socket) return false;
  ++counters_.upstream_tcp;
  udp_.reset();
  tcp_ = std::move(socket).value();
  tcp_->set_handler(this);
  return true;
}

void Exchange::drive_tcp() {
  if (!connected_) {
    if (int error = tcp_->connect_result()) return fail(std::strerror(error));
    connected_ = true;
  }
  if (!send_stream()) return fail(kCutOff);
  read_stream();
}

bool Exchange::send_stream() {
  while (sent_bytes_ < request_.size()) {
    iovec data = to_iovec(ConstBytes(request_).subspan(sent_bytes_));
    auto result = tcp_->send({&data, 1});
    if (result.would_block()) return true;
    if (!result.ok()) return false;
    sent_bytes_ += result.bytes;
  }
  return true;
}

void Exchange::read_stream() {
  for (;;) {
    std::size_t filled = received_.size();
    received_.resize(filled + kStreamReadBytes);
    iovec buffer{&received_[filled], kStreamReadBytes};
    auto result = tcp_->receive({&buffer, 1});
    received_.resize(filled + (result.ok() ? result.bytes : 0));
    if (result.would_block()) return;
    if (!result.ok() || result.bytes == 0) return fail(kCutOff);
    // At most one message of 64 KiB and one read are held.
    if (received_.size() < wire::kDnsLengthPrefixBytes) continue;
    std::size_t length = load_be16(received_.data());
    if (received_.size() - wire::kDnsLengthPrefixBytes >= length) return take_stream_message();
  }
}

void Exchange::take_stream_message() {
  auto whole = ConstBytes(received_);
  auto message =
      DnsMessage::parse(whole.subspan(wire::kDnsLengthPrefixBytes, load_be16(received_.data())));
  if (!message || !is_reply_to(*message, id_, question_))
    return finish(Outcome::refused, std::nullopt, kNonsense);
  take_answer(*message);
}

void Exchange::take_answer(const DnsMessage& message) {
  UpstreamReply reply = read_reply(message, question_);
  finish(reply.outcome, std::move(reply.answer), reply.why);
}

void Exchange::fail(std::string_view why) {
  finish(Outcome::failed, std::nullopt, why);
}

void Exchange::finish(Outcome outcome, std::optional<Answer> answer, std::string_view why) {
  // The callee may destroy this object, and the function with it.
  auto done = std::move(done_);
  if (udp_ && reusable_) sockets_.give_back(std::move(*udp_));
  udp_.reset();
  tcp_.reset();
  done(outcome, std::move(answer), why);
}

}  // namespace sluice::dns
