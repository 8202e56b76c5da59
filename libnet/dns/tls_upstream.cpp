#include "dns/tls_upstream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace sluice::dns {

namespace {

constexpr std::size_t kReadBytes = 16384;
/// A resolver that never stops talking gives way to the rest of the loop after this.
constexpr int kReadsInTurn = 16;
/// More than all questions together; a peer can also ask TLS itself for answers.
constexpr std::size_t kMaxOutgoingBytes = 1 << 20;
constexpr std::string_view kClosed = "it closed the connection before it had answered";
constexpr std::string_view kClosedEarly = "it closed the connection in the TLS handshake";

}  // namespace

TlsUpstream::TlsUpstream(Loop& loop, HostNet& host, Counters& counters, RandomSource random,
                         DnsResolver resolver, std::shared_ptr<const TlsTrust> trust)
    : loop_(loop),
      host_(host),
      counters_(counters),
      random_(std::move(random)),
      resolver_(std::move(resolver)),
      trust_(std::move(trust)),
      timer_(loop.make_timer([this] { on_timer(); })) {}

TlsUpstream::~TlsUpstream() {
  disconnect();
}

std::optional<TlsUpstream::Ticket> TlsUpstream::ask(const Question& question, Done done) {
  if (pending_.size() >= kMaxPending) return std::nullopt;
  if (!socket_ && !dial()) return std::nullopt;
  // There are 64 times as many ids as questions, so a free one is soon found.
  auto id = static_cast<std::uint16_t>(random_());
  while (pending_.contains(id)) ++id;
  Pending& pending = pending_[id];
  pending = {++last_ticket_,
             {question.name.lowered(), question.type, wire::DnsClass::internet},
             std::move(done)};
  ++counters_.upstream_queries;
  ++counters_.upstream_tls;
  Ticket ticket = pending.ticket;
  if (channel_ && channel_->state() == TlsChannel::State::open) {
    send_question(id, pending);
    flush();
  }
  return ticket;
}

void TlsUpstream::cancel(Ticket ticket) {
  std::erase_if(pending_, [&](const auto& entry) { return entry.second.ticket == ticket; });
}

std::string TlsUpstream::waits_for() const {
  if (!socket_) return trouble_.empty() ? "it can't be asked" : trouble_;
  if (!connected_) return "no TCP connection in time";
  if (channel_->state() == TlsChannel::State::handshake) return "no TLS handshake in time";
  return "no answer in time";
}

bool TlsUpstream::dial() {
  if (loop_.now() < rests_until_) return false;
  auto socket = host_.dial_tcp(resolver_.endpoint);
  if (!socket) {
    back_off(socket.status().message());
    return false;
  }
  ++counters_.tls_connections;
  socket_ = std::move(*socket);
  socket_->set_handler(this);
  timer_->start(kSetUp);
  return true;
}

void TlsUpstream::on_socket_ready(SocketReady) {
  auto self = shared_from_this();
  if (!connected_) {
    if (int error = socket_->connect_result()) return end(std::strerror(error));
    connected_ = true;
    begin_handshake();
  }
  flush();
  read_socket();
}

void TlsUpstream::begin_handshake() {
  channel_ = std::make_unique<TlsChannel>(trust_, resolver_.tls_name);
}

void TlsUpstream::read_socket() {
  std::array<std::uint8_t, kReadBytes> block;
  std::uint64_t connection = connection_;
  for (int reads = 0; reads < kReadsInTurn; ++reads) {
    iovec buffer{block.data(), block.size()};
    auto result = socket_->receive({&buffer, 1});
    if (result.would_block()) return;
    bool was_open = channel_->state() == TlsChannel::State::open;
    if (!result.ok()) return end(std::strerror(result.error));
    if (result.bytes == 0) return end(was_open ? kClosed : kClosedEarly);
    channel_->receive(ConstBytes(block).first(result.bytes));
    if (!was_open && channel_->state() == TlsChannel::State::open) {
      for (const auto& [id, pending] : pending_) send_question(id, pending);
    }
    flush();
    if (outgoing_.size() > kMaxOutgoingBytes) return end("it does not read what it is sent");
    take_plaintext();
    if (connection != connection_) return;
    if (channel_->state() == TlsChannel::State::failed) return end(channel_->trouble());
    if (channel_->state() == TlsChannel::State::ended) return end(kClosed);
    if (channel_->state() == TlsChannel::State::open) arm_timer();
  }
  loop_.defer([weak = weak_from_this(), connection] {
    auto self = weak.lock();
    if (self && self->connection_ == connection) self->read_socket();
  });
}

void TlsUpstream::take_plaintext() {
  auto bytes = channel_->plaintext();
  incoming_.insert(incoming_.end(), bytes.begin(), bytes.end());
  std::size_t at = 0;
  while (incoming_.size() - at >= wire::kDnsLengthPrefixBytes) {
    std::size_t length = load_be16(&incoming_[at]);
    if (incoming_.size() - at - wire::kDnsLengthPrefixBytes < length) break;
    at += wire::kDnsLengthPrefixBytes;
    if (owed_ == 0) return end("it says what it was not asked");
    --owed_;
    take_message(ConstBytes(incoming_).subspan(at, length));
    at += length;
  }
  incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(at));
}

void TlsUpstream::take_message(ConstBytes bytes) {
  auto message = wire::DnsMessage::parse(bytes);
  auto found = message ? pending_.find(message->header().id) : pending_.end();
  // Whoever asked may have gone.
  if (found == pending_.end()) return;
  rest_ = Duration::zero();
  trouble_.clear();
  Pending pending = std::move(found->second);
  pending_.erase(found);
  if (!is_reply_to(*message, message->header().id, pending.question)) {
    return pending.done(UpstreamQuery::Outcome::refused, std::nullopt, kNonsense);
  }
  UpstreamReply reply = read_reply(*message, pending.question);
  pending.done(reply.outcome, std::move(reply.answer), reply.why);
}

void TlsUpstream::send_question(std::uint16_t id, const Pending& pending) {
  if (owed_++ == 0) timer_->start(kSilence);
  channel_->send(encode_query(id, pending.question, Privacy::encrypted));
}

void TlsUpstream::flush() {
  auto more = channel_->output();
  outgoing_.insert(outgoing_.end(), more.begin(), more.end());
  while (sent_bytes_ < outgoing_.size()) {
    iovec data{&outgoing_[sent_bytes_], outgoing_.size() - sent_bytes_};
    auto result = socket_->send({&data, 1});
    // An error shows when the socket is read.
    if (!result.ok()) return;
    sent_bytes_ += result.bytes;
  }
  outgoing_.clear();
  sent_bytes_ = 0;
}

void TlsUpstream::arm_timer() {
  timer_->start(owed_ > 0 ? kSilence : kIdle);
}

void TlsUpstream::on_timer() {
  auto self = shared_from_this();
  if (!socket_) return;
  bool is_open = channel_ && channel_->state() == TlsChannel::State::open;
  if (is_open && owed_ == 0) return disconnect();
  end(waits_for());
}

void TlsUpstream::end(std::string_view why) {
  std::string reason(why);
  bool was_open = channel_ && channel_->state() != TlsChannel::State::handshake &&
                  channel_->state() != TlsChannel::State::failed;
  disconnect();
  if (pending_.empty()) {
    // A kept connection that ends is nothing to speak of; one that never stood is.
    if (!was_open) back_off(reason);
    return;
  }
  bool any_new = std::any_of(pending_.begin(), pending_.end(),
                             [](const auto& entry) { return !entry.second.is_retried; });
  if (was_open && any_new && dial()) {
    std::vector<std::uint16_t> over;
    for (auto& [id, pending] : pending_) {
      if (std::exchange(pending.is_retried, true)) over.push_back(id);
    }
    if (over.empty()) return;
    // Those for whom it was the second time.
    for (std::uint16_t id : over) {
      auto found = pending_.find(id);
      if (found == pending_.end()) continue;
      Done done = std::move(found->second.done);
      pending_.erase(found);
      done(UpstreamQuery::Outcome::failed, std::nullopt, reason);
    }
    return;
  }
  back_off(reason);
  fail_pending(reason);
}

void TlsUpstream::disconnect() {
  ++connection_;
  if (channel_ && socket_) {
    channel_->close();
    flush();
  }
  socket_.reset();
  channel_.reset();
  connected_ = false;
  outgoing_.clear();
  sent_bytes_ = 0;
  incoming_.clear();
  owed_ = 0;
  timer_->stop();
}

void TlsUpstream::back_off(std::string_view why) {
  trouble_ = why;
  rest_ = rest_ == Duration::zero() ? kFirstBackOff : std::min(rest_ * 2, kLongestBackOff);
  rests_until_ = loop_.now() + rest_;
}

void TlsUpstream::fail_pending(std::string_view why) {
  // A callee may cancel others, and ask anew, which gets tickets past these.
  Ticket last = last_ticket_;
  auto is_due = [&](const auto& entry) { return entry.second.ticket <= last; };
  for (auto due = std::find_if(pending_.begin(), pending_.end(), is_due); due != pending_.end();
       due = std::find_if(pending_.begin(), pending_.end(), is_due)) {
    Done done = std::move(due->second.done);
    pending_.erase(due);
    done(UpstreamQuery::Outcome::failed, std::nullopt, why);
  }
}

TlsQuery::~TlsQuery() {
  if (ticket_) upstream_->cancel(*ticket_);
}

bool TlsQuery::start() {
  ticket_ = upstream_->ask(
      question_, [this](Outcome outcome, std::optional<Answer> answer, std::string_view why) {
        ticket_.reset();
        // The callee may destroy this object, and the function with it.
        auto done = std::move(done_);
        done(outcome, std::move(answer), why);
      });
  return ticket_.has_value();
}

}  // namespace sluice::dns
