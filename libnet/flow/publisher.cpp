#include "flow/publisher.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "flow/proxy_protocol.h"

namespace sluice::flow {

namespace {

/// Connections that one port may take before the others have their turn, and datagrams from which
/// on they have.
constexpr int kAcceptedPerTurn = 64;
constexpr std::size_t kReceivedPerTurn = 2048;
/// Ports of the gateway's address that stand for clients (RFC 6335 section 6).
constexpr std::uint16_t kFirstPort = 49152;
constexpr Duration kExpireInterval = std::chrono::seconds(5);

}  // namespace

/// One bound port. TCP or UDP, whichever socket is there.
struct Publisher::Entry final : SocketHandler, WorkItem {
  Entry(Publisher& owner, const PublishSpec& published, std::uint16_t offset)
      : publisher(owner),
        spec(published),
        index(offset),
        hold(std::make_shared<int>(0)),
        rate(published.connections_per_second, published.connections_per_second) {}

  void on_socket_ready(SocketReady ready) override {
    readable |= ready.readable || ready.error;
    publisher.work_.add(*this);
  }
  /// Every flow of this port has a copy.
  std::size_t connections() const { return static_cast<std::size_t>(hold.use_count() - 1); }

  Publisher& publisher;
  PublishSpec spec;     ///< The whole one that it is a part of.
  std::uint16_t index;  ///< Which port of the range.
  std::unique_ptr<ListenSocket> listener;
  std::unique_ptr<DatagramSocket> datagrams;
  std::shared_ptr<const void> hold;
  TokenBucket rate;
  std::size_t clients = 0;  ///< Of UDP.
  bool readable = false;
};

Publisher::Publisher(Loop& loop, HostNet& host, TcpRelay& tcp, Gate& gate, GuestOutput& output,
                     PublisherOptions options)
    : loop_(loop),
      host_(host),
      tcp_(tcp),
      gate_(gate),
      output_(output),
      options_(std::move(options)),
      next_port_(static_cast<std::uint16_t>(kFirstPort + random_u64() % (65536 - kFirstPort))),
      timer_(loop.make_timer([this] { expire(); })) {}

Publisher::~Publisher() = default;

Result<std::unique_ptr<Publisher::Entry>> Publisher::open(const PublishSpec& spec,
                                                          std::uint16_t index) {
  auto entry = std::make_unique<Entry>(*this, spec, index);
  Endpoint at{spec.bind, Port(static_cast<std::uint16_t>(spec.host_first.value() + index))};
  auto explain = [&](const Status& status) {
    std::string hint;
    if (status.code() == StatusCode::already_exists) {
      hint = "; another program has it: choose another host port, or 0 for any";
    } else if (status.code() == StatusCode::permission_denied) {
      hint = "; a port below 1024 needs root or CAP_NET_BIND_SERVICE";
    }
    return Status(status.code(),
                  fmt::format("published port {}: {}{}", to_string(spec), status.message(), hint));
  };
  if (!spec.unix_path.empty()) {
    auto listener = host_.listen_unix(spec.unix_path);
    if (!listener) return explain(listener.status());
    entry->listener = std::move(*listener);
  } else if (spec.protocol == Protocol::tcp) {
    auto listener = host_.listen_tcp(at);
    if (!listener) return explain(listener.status());
    entry->listener = std::move(*listener);
  } else {
    auto socket = host_.open_udp(at);
    if (!socket) return explain(socket.status());
    entry->datagrams = std::move(*socket);
  }
  if (entry->listener) entry->listener->set_handler(entry.get());
  if (entry->datagrams) entry->datagrams->set_handler(entry.get());
  return entry;
}

Result<std::vector<PublishedPort>> Publisher::publish(const PublishSpec& spec) {
  std::vector<std::unique_ptr<Entry>> opened;
  int count = spec.unix_path.empty() ? spec.host_last.value() - spec.host_first.value() : 0;
  for (int i = 0; i <= count; ++i) {
    auto entry = open(spec, static_cast<std::uint16_t>(i));
    if (!entry) return entry.status();
    opened.push_back(std::move(*entry));
  }
  std::size_t before = entries_.size();
  for (auto& entry : opened) entries_.push_back(std::move(entry));
  auto all = ports();
  return std::vector<PublishedPort>(all.begin() + static_cast<std::ptrdiff_t>(before), all.end());
}

Status Publisher::unpublish(const PublishSpec& spec, LiveFlows live) {
  bool found = false;
  for (auto& entry : entries_) {
    if (!(entry->spec == spec)) continue;
    found = true;
    if (live == LiveFlows::reset) tcp_.reset_inbound(entry->hold);
    work_.remove(*entry);
    for (auto it = udp_.begin(); it != udp_.end();) {
      auto next = std::next(it);
      if (it->second.entry == entry.get()) forget(it, "its port was withdrawn");
      it = next;
    }
    entry.reset();
  }
  std::erase(entries_, nullptr);
  if (!found) {
    return Status(StatusCode::not_found, fmt::format("{} is not published", to_string(spec)));
  }
  return Status::ok();
}

std::vector<PublishedPort> Publisher::ports() const {
  std::vector<PublishedPort> out;
  for (const auto& entry : entries_) {
    PublishedPort port;
    port.spec = entry->spec;
    port.host = entry->listener ? entry->listener->local() : entry->datagrams->local();
    port.guest_port =
        Port(static_cast<std::uint16_t>(entry->spec.guest_first.value() + entry->index));
    out.push_back(port);
  }
  return out;
}

void Publisher::run() {
  work_.run([this](Entry& entry) {
    if (!entry.readable) return;
    entry.readable = entry.listener ? accept(entry) : receive(entry);
    if (entry.readable) work_.add(entry);
  });
}

Endpoint Publisher::guest_end(const Entry& entry, const std::optional<Endpoint>& client) const {
  Port port(static_cast<std::uint16_t>(entry.spec.guest_first.value() + entry.index));
  if (entry.spec.guest_address) return {*entry.spec.guest_address, port};
  // The family of the client, where that keeps its address visible; IPv4 is what every guest has.
  Family family = client && !client->address.is_loopback() ? client->address.family() : Family::v4;
  return {options_.guest_address(family), port};
}

Grant Publisher::admit(Entry& entry, const std::optional<Endpoint>& client, const Endpoint& guest) {
  const PublishSpec& spec = entry.spec;
  auto inside = [&](const IpPrefix& prefix) { return prefix.contains(client->address); };
  if (client && !spec.allowed_sources.empty() &&
      std::none_of(spec.allowed_sources.begin(), spec.allowed_sources.end(), inside)) {
    ++counters_.refused_by_policy;
    gate_.on_client_refused(spec.protocol, *client, guest, spec);
    return {};
  }
  if (spec.max_connections > 0 && entry.connections() >= spec.max_connections) {
    ++counters_.limit_connections;
    return {};
  }
  if (spec.connections_per_second > 0 && !entry.rate.take(loop_.now())) {
    ++counters_.limit_rate;
    return {};
  }
  Grant grant = gate_.allow_ingress(spec.protocol, client, guest, 0);
  if (!grant) ++counters_.refused_by_policy;
  return grant;
}

std::optional<Endpoint> Publisher::source_for(const Entry& entry,
                                              const std::optional<Endpoint>& client,
                                              const Endpoint& guest) {
  auto inside = [&](const IpPrefix& prefix) { return prefix.contains(client->address); };
  auto any_of = [&](const std::vector<IpPrefix>& prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(), inside);
  };
  bool keep = entry.spec.source == SourceMode::client && client &&
              client->address.family() == guest.address.family() &&
              !client->address.is_loopback() && !client->address.is_link_local() &&
              !any_of(options_.guest_prefixes) && !any_of(options_.routed_prefixes);
  if (keep) return client;
  return gateway_source(guest, entry.listener ? Protocol::tcp : Protocol::udp);
}

std::optional<Endpoint> Publisher::gateway_source(const Endpoint& guest, Protocol protocol) {
  IpAddress gateway = output_.gateway_address(guest.address.family());
  for (int tries = 65536 - kFirstPort; tries > 0; --tries) {
    Endpoint source{gateway, Port(next_port_)};
    next_port_ = next_port_ == 65535 ? kFirstPort : static_cast<std::uint16_t>(next_port_ + 1);
    FlowKey key{guest, source};
    bool used = protocol == Protocol::tcp ? tcp_.exists(key) : udp_.contains(key);
    if (!used) return source;
  }
  return std::nullopt;
}

Status Publisher::connect(std::unique_ptr<StreamSocket> client, const Endpoint& guest) {
  Grant grant = gate_.allow_ingress(Protocol::tcp, std::nullopt, guest, 0);
  if (!grant) {
    ++counters_.refused_by_policy;
    return Status(StatusCode::permission_denied, "the policy denies it");
  }
  std::optional<Endpoint> source = gateway_source(guest, Protocol::tcp);
  if (!source) {
    ++counters_.failed;
    return Status(StatusCode::exhausted, "no port of the gateway's is free");
  }
  TcpInbound inbound{.guest = guest,
                     .source = *source,
                     .preface = {},
                     .hold = std::make_shared<int>(0),
                     .grant = std::move(grant),
                     .client = std::nullopt,
                     .handshake = std::nullopt};
  if (!options_.guest_heard()) inbound.handshake = options_.unheard_handshake;
  Status status = tcp_.open_inbound(std::move(client), std::move(inbound));
  ++(status ? counters_.accepted : counters_.failed);
  return status;
}

bool Publisher::accept(Entry& entry) {
  for (int i = 0; i < kAcceptedPerTurn; ++i) {
    ListenSocket::Accepted accepted = entry.listener->accept();
    if (!accepted.socket) return false;
    std::optional<Endpoint> client = accepted.socket->peer();
    Endpoint guest = guest_end(entry, client);
    Grant grant = admit(entry, client, guest);
    if (!grant) {
      accepted.socket->reset_on_close();
      continue;
    }
    std::optional<Endpoint> source = source_for(entry, client, guest);
    if (!source) {
      ++counters_.failed;
      accepted.socket->reset_on_close();
      continue;
    }
    std::vector<std::uint8_t> preface;
    if (entry.spec.source == SourceMode::proxy_v2 && client) {
      auto local = accepted.socket->local();
      preface = make_proxy_header(*client, local ? *local : guest);
    }
    TcpInbound inbound{.guest = guest,
                       .source = *source,
                       .preface = preface,
                       .hold = entry.hold,
                       .grant = std::move(grant),
                       .client = client,
                       .handshake = std::nullopt};
    if (!options_.guest_heard()) inbound.handshake = options_.unheard_handshake;
    Status status = tcp_.open_inbound(std::move(accepted.socket), std::move(inbound));
    if (status) {
      ++counters_.accepted;
    } else {
      ++counters_.failed;
      log(LogLevel::debug, "published port {}: {}", to_string(entry.spec), status.message());
    }
  }
  return true;
}

Publisher::UdpClient* Publisher::udp_client(Entry& entry, const Endpoint& client) {
  auto known = entry_clients_.find({&entry, client});
  if (known != entry_clients_.end()) return &udp_.at(known->second);
  Endpoint guest = guest_end(entry, client);
  Grant grant = admit(entry, client, guest);
  if (!grant) return nullptr;
  if (entry.clients >= options_.udp_clients) {
    auto oldest = udp_.end();
    for (auto it = udp_.begin(); it != udp_.end(); ++it) {
      if (it->second.entry != &entry) continue;
      if (oldest == udp_.end() || it->second.last < oldest->second.last) oldest = it;
    }
    ++counters_.udp_evicted;
    forget(oldest, "it was idle longest, and another needs its place");
  }
  std::optional<Endpoint> source = source_for(entry, client, guest);
  FlowKey key{guest, source.value_or(Endpoint{})};
  if (!source || udp_.contains(key)) {
    ++counters_.failed;
    return nullptr;
  }
  ++entry.clients;
  entry_clients_.emplace(ClientKey{&entry, client}, key);
  if (!timer_->active()) timer_->start(kExpireInterval);
  FlowRecord record{.grant = std::move(grant), .opened = loop_.now()};
  return &udp_.emplace(key, UdpClient{&entry, client, key, std::move(record), loop_.now()})
              .first->second;
}

bool Publisher::receive(Entry& entry) {
  for (std::size_t received = 0; received < kReceivedPerTurn;) {
    while (entry.datagrams->take_queued_error()) {
      // A client that went away is no business of the guest's.
    }
    auto [datagrams, drained] = entry.datagrams->receive_batch();
    if (datagrams.empty()) return false;
    received += datagrams.size();
    for (const InDatagram& datagram : datagrams) {
      UdpClient* client = udp_client(entry, datagram.peer);
      if (!client) continue;
      client->last = loop_.now();
      if (client->revoked != 0) {
        ++counters_.refused_by_policy;
        continue;
      }
      client->record.rx_bytes += datagram.data.size();
      output_.send_udp(client->key.remote, client->key.guest, datagram.data);
    }
    if (drained) return false;
  }
  return true;
}

bool Publisher::on_guest_datagram(const wire::Packet& packet, const wire::UdpView& datagram) {
  if (udp_.empty()) return false;
  auto it = udp_.find({{packet.source(), datagram.source_port()},
                       {packet.destination(), datagram.destination_port()}});
  if (it == udp_.end()) return false;
  UdpClient& client = it->second;
  client.last = loop_.now();
  if (client.revoked != 0) return true;
  client.replied = true;
  ConstBytes payload = datagram.payload();
  client.record.tx_bytes += payload.size();
  auto* data = const_cast<std::uint8_t*>(payload.data());  // NOLINT: iovec, only read
  iovec piece{data, payload.size()};
  OutDatagram out{client.client, {&piece, 1}};
  client.entry->datagrams->send_batch({&out, 1});
  return true;
}

void Publisher::judge_again(RevokedFlows revoked) {
  if (revoked == RevokedFlows::keep) return;
  for (auto it = udp_.begin(); it != udp_.end();) {
    auto next = std::next(it);
    UdpClient& client = it->second;
    FlowId id = client.revoked != 0 ? client.revoked : client.record.grant.id;
    Grant grant = gate_.allow_ingress(Protocol::udp, client.client, client.key.guest, id);
    if (!grant) {
      end(client, kRevoked);
      client.revoked = id;
    } else if (client.revoked != 0) {
      // Its next datagram begins anew.
      forget(it, {});
    } else {
      client.record.grant = std::move(grant);
    }
    it = next;
  }
}

FlowSight Publisher::sight(const UdpClient& client) {
  return {.record = client.record,
          .protocol = Protocol::udp,
          .direction = Direction::ingress,
          .state = client.replied ? FlowState::open : FlowState::unanswered,
          .guest = client.key.guest,
          .remote = client.client,
          .last = client.last,
          .name = nullptr};
}

void Publisher::each_flow(const FlowVisitor& visit) const {
  for (const auto& [key, client] : udp_) {
    if (client.record.grant) visit(sight(client));
  }
}

bool Publisher::reset_flow(FlowId id) {
  auto it = std::find_if(udp_.begin(), udp_.end(),
                         [&](const auto& one) { return one.second.record.grant.id == id; });
  if (it == udp_.end()) return false;
  forget(it, "the operator ended it");
  return true;
}

void Publisher::end(UdpClient& client, std::string_view reason) {
  if (!client.record.grant) return;
  gate_.on_flow_closed(sight(client), reason);
  client.record = {};
}

void Publisher::forget(UdpClients::iterator it, std::string_view reason) {
  end(it->second, reason);
  --it->second.entry->clients;
  entry_clients_.erase({it->second.entry, it->second.client});
  udp_.erase(it);
}

void Publisher::expire() {
  TimePoint now = loop_.now();
  for (auto it = udp_.begin(); it != udp_.end();) {
    auto next = std::next(it);
    const UdpClient& client = it->second;
    if (now - client.last >= (client.replied ? options_.udp_replied : options_.udp_unreplied)) {
      forget(it, "nothing moved for too long");
    }
    it = next;
  }
  if (!udp_.empty()) timer_->start(kExpireInterval);
}

PublisherCounters Publisher::counters() const {
  PublisherCounters counters = counters_;
  auto is_flow = [](const auto& one) { return bool(one.second.record.grant); };
  counters.udp_mappings = static_cast<std::size_t>(std::ranges::count_if(udp_, is_flow));
  return counters;
}

}  // namespace sluice::flow
