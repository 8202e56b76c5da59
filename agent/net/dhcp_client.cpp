#include "agent/net/dhcp_client.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/hash.h"
#include "base/log.h"

namespace sluice::agent {
namespace {

using std::chrono::seconds;
using wire::DhcpLease;
using wire::DhcpOption;
using wire::DhcpType;
using State = DhcpClient::State;

/// Option 55. Option 121 comes before 3, which it replaces (RFC 3442).
constexpr std::array kWanted{
    DhcpOption::subnet_mask,     DhcpOption::static_routes,     DhcpOption::routers,
    DhcpOption::dns_servers,     DhcpOption::host_name,         DhcpOption::domain_name,
    DhcpOption::interface_mtu,   DhcpOption::lease_seconds,     DhcpOption::server_id,
    DhcpOption::renewal_seconds, DhcpOption::rebinding_seconds, DhcpOption::domain_search,
};

/// A server's words for a log: ASCII, and no more than a line of it.
std::string printable(std::string text) {
  if (text.empty()) return "no reason given";
  if (text.size() > 80) text.resize(80);
  for (char& letter : text) {
    if (letter < ' ' || letter > '~') letter = '?';
  }
  return text;
}

}  // namespace

std::string_view to_string(State state) {
  switch (state) {
    case State::stopped:
      return "stopped";
    case State::selecting:
      return "selecting";
    case State::requesting:
      return "requesting";
    case State::rebooting:
      return "rebooting";
    case State::bound:
      return "bound";
    case State::renewing:
      return "renewing";
    case State::rebinding:
      return "rebinding";
  }
  return "unknown";
}

DhcpClient::DhcpClient(Loop& loop, DhcpLink& link, DhcpClientConfig config,
                       DhcpClientEvents& events)
    : loop_(loop),
      link_(link),
      config_(std::move(config)),
      events_(events),
      timer_(loop.make_timer([this] { on_timer(); })) {
  if (!config_.random) config_.random = random_u64;
  link_.set_receiver([this](ConstBytes message) { on_message(message); });
}

DhcpClient::~DhcpClient() {
  link_.set_receiver(nullptr);
}

void DhcpClient::start() {
  if (state_ != State::stopped) return;
  failures_ = 0;
  discover_after(Duration::zero());
}

void DhcpClient::stop() {
  state_ = State::stopped;
  timer_->stop();
  offer_.reset();
  lease_.reset();
}

void DhcpClient::revalidate() {
  if (state_ == State::stopped) return;
  failures_ = 0;
  if (!lease_) return discover_after(Duration::zero());
  begin(State::rebooting);
  transmit();
}

/// Enters a state that asks in a transaction of its own.
void DhcpClient::begin(State state) {
  state_ = state;
  transaction_ = static_cast<std::uint32_t>(config_.random());
  asking_since_ = loop_.now();
  tries_ = 0;
}

void DhcpClient::discover_after(Duration delay) {
  offer_.reset();
  broadcast_ = false;
  begin(State::selecting);
  if (delay > Duration::zero()) return timer_->start(delay);
  transmit();
}

/// Neither yes nor no, or no: somebody else may do better. Each time later, so that a server that
/// never means what it offers is not asked without rest.
void DhcpClient::give_up_offer() {
  Duration delay = failures_ == 0 ? Duration::zero() : backoff(failures_);
  ++failures_;
  discover_after(delay);
}

void DhcpClient::on_timer() {
  bool no_answer = tries_ >= kRequestTries;
  switch (state_) {
    case State::stopped:
      return;
    case State::requesting:
      if (no_answer) return give_up_offer();
      return transmit();
    case State::rebooting:
      if (no_answer) return follow_lease();
      return transmit();
    case State::selecting:
      return transmit();
    case State::bound:
    case State::renewing:
    case State::rebinding:
      return follow_lease();
  }
}

Duration DhcpClient::until(seconds lease_age) const {
  return lease_began_ + lease_age - loop_.now();
}

/// Does what the lease's age asks for, and waits for the next thing.
void DhcpClient::follow_lease() {
  if (lease_->is_forever()) {
    state_ = State::bound;
    return timer_->stop();
  }
  if (until(lease_->duration) <= Duration::zero()) return lose_lease();
  if (until(lease_->renew_after) > Duration::zero()) {
    state_ = State::bound;
    return timer_->start(until(lease_->renew_after));
  }
  bool late = until(lease_->rebind_after) <= Duration::zero();
  State wanted = late ? State::rebinding : State::renewing;
  if (state_ != wanted) begin(wanted);
  transmit();
}

void DhcpClient::lose_lease() {
  DhcpLease lost = *lease_;
  lease_.reset();
  discover_after(Duration::zero());
  events_.on_dhcp_lost(lost);
}

Duration DhcpClient::backoff(int doublings) {
  Duration delay = kFirstRetry;
  for (int i = 0; i < doublings && delay < kLastRetry; ++i) delay *= 2;
  delay = std::min<Duration>(delay, kLastRetry);
  auto random = static_cast<std::int64_t>(config_.random() >> 1);
  return delay * 3 / 4 + Duration(random % (delay.count() / 2));
}

/// Sends the message of this state, and sets the timer for when there is no answer.
void DhcpClient::transmit() {
  if (state_ == State::selecting) broadcast_ = tries_ + 1 >= kBroadcastFrom;
  auto message = make_message();
  Status sent;
  if (state_ == State::renewing) {
    sent = link_.send(lease_->address, lease_->server, message);
  } else {
    sent = link_.broadcast(lease_ ? lease_->address : IpAddress(), message);
  }
  last_sent_ = loop_.now();
  ++counters_.sent;
  if (!sent) {
    ++counters_.send_errors;
    log(LogLevel::warn, "DHCP, {}: {}", to_string(state_), sent.message());
  }
  ++tries_;
  if (state_ == State::renewing || state_ == State::rebinding) {
    Duration rest = until(state_ == State::renewing ? lease_->rebind_after : lease_->duration);
    return timer_->start(std::min(rest, std::max<Duration>(rest / 2, kMinRenewRetry)));
  }
  timer_->start(backoff(tries_ - 1));
}

/// RFC 2131 section 4.3.6 and table 5 say what goes where.
std::vector<std::uint8_t> DhcpClient::make_message() const {
  bool renews = state_ == State::renewing || state_ == State::rebinding;
  auto waited = std::chrono::duration_cast<seconds>(loop_.now() - asking_since_).count();
  wire::DhcpHeader header;
  header.op = wire::DhcpHeader::Op::request;
  header.transaction = transaction_;
  header.seconds = static_cast<std::uint16_t>(std::min<std::int64_t>(waited, 0xffff));
  header.broadcast = broadcast_ && !lease_;
  if (renews) header.client_address = lease_->address;
  header.client_mac = config_.mac;
  header.type = state_ == State::selecting ? DhcpType::discover : DhcpType::request;

  wire::DhcpBuilder builder(header);
  std::array<std::uint8_t, 1 + MacAddress::kSize> id{1};  // RFC 2132 section 9.14: Ethernet
  std::ranges::copy(config_.mac.bytes(), id.begin() + 1);
  builder.add(DhcpOption::client_id, id);
  if (state_ == State::selecting) builder.add(DhcpOption::rapid_commit, ConstBytes());
  if (state_ == State::requesting) {
    builder.add(DhcpOption::requested_address, offer_->address);
    builder.add(DhcpOption::server_id, offer_->server);
  }
  if (state_ == State::rebooting) builder.add(DhcpOption::requested_address, lease_->address);
  builder.add16(DhcpOption::max_message_size, config_.max_message);
  std::array<std::uint8_t, kWanted.size()> wanted;
  std::ranges::transform(kWanted, wanted.begin(),
                         [](DhcpOption option) { return static_cast<std::uint8_t>(option); });
  builder.add(DhcpOption::parameter_list, wanted);
  if (!config_.host_name.is_root()) builder.add(DhcpOption::host_name, config_.host_name.text());
  return builder.finish();
}

void DhcpClient::on_message(ConstBytes bytes) {
  auto reply = wire::DhcpView::parse(bytes);
  if (!reply || reply->is_request()) {
    ++counters_.malformed;
    return;
  }
  // Nothing is waited for in `bound`, or before the first message of a delayed start.
  bool asking = state_ != State::stopped && state_ != State::bound && tries_ > 0;
  if (!asking || reply->transaction() != transaction_ || reply->client_mac() != config_.mac ||
      !may_answer(*reply)) {
    ++counters_.ignored;
    return;
  }
  if (reply->type() == DhcpType::offer) return on_offer(*reply);
  if (reply->type() == DhcpType::ack) return on_ack(*reply);
  return on_nak(*reply);
}

/// Whether this kind of reply, from this server, has a meaning now.
bool DhcpClient::may_answer(const wire::DhcpView& reply) const {
  bool decides = reply.type() == DhcpType::ack || reply.type() == DhcpType::nak;
  switch (state_) {
    case State::selecting:
      return reply.type() == DhcpType::offer ||
             (reply.type() == DhcpType::ack && reply.has(DhcpOption::rapid_commit));
    case State::requesting:
      return decides && reply.address(DhcpOption::server_id) == offer_->server;
    case State::renewing:
      return decides && reply.address(DhcpOption::server_id) == lease_->server;
    case State::rebooting:
    case State::rebinding:
      return decides;
    case State::stopped:
    case State::bound:
      break;
  }
  return false;
}

void DhcpClient::on_offer(const wire::DhcpView& reply) {
  auto offer = DhcpLease::read(reply);
  if (!offer) {
    ++counters_.refused;
    log(LogLevel::warn, "DHCP: an offer is ignored: {}", offer.status().message());
    return;
  }
  offer_ = std::move(*offer);
  // The same transaction goes on (RFC 2131 section 4.4.1).
  state_ = State::requesting;
  tries_ = 0;
  transmit();
}

void DhcpClient::on_ack(const wire::DhcpView& reply) {
  auto lease = DhcpLease::read(reply);
  if (!lease) {
    ++counters_.refused;
    log(LogLevel::warn, "DHCP: a lease is ignored: {}", lease.status().message());
    return;
  }
  ++counters_.acks;
  failures_ = 0;
  offer_.reset();
  lease_ = std::move(*lease);
  lease_began_ = last_sent_;
  state_ = State::bound;
  if (lease_->is_forever()) {
    timer_->stop();
  } else {
    timer_->start(until(lease_->renew_after));
  }
  DhcpLease told = *lease_;
  events_.on_dhcp_bound(told);
}

void DhcpClient::on_nak(const wire::DhcpView& reply) {
  ++counters_.naks;
  log(LogLevel::warn, "DHCP, {}: the server says no: {}", to_string(state_),
      printable(reply.text(DhcpOption::message).value_or("")));
  std::optional<DhcpLease> lost = std::move(lease_);
  lease_.reset();
  give_up_offer();
  if (lost) events_.on_dhcp_lost(*lost);
}

}  // namespace sluice::agent
