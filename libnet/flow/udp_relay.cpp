#include "flow/udp_relay.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "flow/server_search.h"

namespace sluice::flow {

namespace {

/// From so many datagrams on that one mapping received the others have their turn.
constexpr std::size_t kReceivedPerTurn = 128;
/// Datagrams of one send call.
constexpr std::size_t kSendBatch = 64;
constexpr Duration kExpireInterval = std::chrono::seconds(5);
constexpr std::uint8_t kUsualTtl = 64;
/// As much of the guest's packet as an error quotes.
constexpr std::size_t kQuotedPacket = 1280;
/// Of the queue's limit, for each datagram besides its bytes: even empty ones cost memory.
constexpr std::size_t kQueuedOverhead = 128;
constexpr std::string_view kMakesRoom = "it was idle longest, and another needs its place";

using Quote = std::array<std::uint8_t, kQuotedPacket>;

/// The guest's packet again, as far as an error quotes it; empty where it can't be.
ConstBytes quote(Quote& out, const Endpoint& guest, const Endpoint& remote, ConstBytes payload) {
  std::size_t kept = std::min<std::size_t>(payload.size(), 1024);
  return ConstBytes(out).first(wire::emit_udp(out, guest, remote, payload.first(kept)));
}

}  // namespace

struct UdpRelay::Mapping final : SocketHandler, WorkItem {
  Mapping(UdpRelay& owner, const Endpoint& guest_endpoint) : relay(owner), guest(guest_endpoint) {}

  void on_socket_ready(SocketReady ready) override {
    readable |= ready.readable || ready.error;
    writable |= ready.writable || ready.error;
    failed |= ready.error;
    relay.work_.add(*this);
  }

  UdpRelay& relay;
  FlowKey key;
  Endpoint guest;
  std::unique_ptr<DatagramSocket> socket;    ///< None while nothing may be sent from here.
  std::unordered_map<Endpoint, Peer> peers;  ///< By the address that the guest uses.
  /// Host address to the guest's name for it: that of a flow among `peers`.
  std::unordered_map<Endpoint, Endpoint> named;
  std::vector<Queued> queue;
  std::size_t queued_bytes = 0;  ///< Of copies, with kQueuedOverhead each.
  std::list<Mapping*>::iterator age;
  std::uint8_t ttl = kUsualTtl;
  bool readable = false;
  bool writable = true;
  bool failed = false;  ///< Errors are queued.
};

UdpRelay::UdpRelay(Loop& loop, HostNet& host, Gate& gate, GuestOutput& output, IcmpAnswers& icmp,
                   const UdpLimits& limits)
    : loop_(loop),
      host_(host),
      gate_(gate),
      output_(output),
      icmp_(icmp),
      limits_(limits),
      work_([this](Mapping& mapping) { mappings_.erase(mappings_.find(mapping.key)); }),
      timer_(loop.make_timer([this] { expire(); })) {}

UdpRelay::~UdpRelay() = default;

UdpRelay::Mapping& UdpRelay::mapping_of(const Endpoint& guest) {
  FlowKey key{guest, {IpAddress::any(guest.address.family()), Port()}};
  auto it = mappings_.find(key);
  if (it != mappings_.end() && !it->second->retired()) {
    by_age_.splice(by_age_.end(), by_age_, it->second->age);
    return *it->second;
  }
  if (mappings_.size() >= limits_.sockets) {
    ++counters_.evicted;
    close(*by_age_.front(), kMakesRoom);
  }
  work_.sweep();
  auto owned = std::make_unique<Mapping>(*this, guest);
  Mapping& mapping = *owned;
  mapping.key = key;
  mapping.age = by_age_.insert(by_age_.end(), &mapping);
  mappings_.emplace(key, std::move(owned));
  if (!timer_->active()) timer_->start(kExpireInterval);
  return mapping;
}

Status UdpRelay::open_socket(Mapping& mapping) {
  auto socket = host_.open_udp({IpAddress::any(mapping.guest.address.family()), Port()});
  if (!socket) return socket.status();
  mapping.socket = std::move(*socket);
  mapping.socket->set_handler(&mapping);
  mapping.ttl = kUsualTtl;
  mapping.readable = false;
  mapping.writable = true;
  mapping.failed = false;
  return Status::ok();
}

void UdpRelay::forget_name(Mapping& mapping, const Peer& peer) {
  // Two addresses of the gateway's may lead to the same one of the host's.
  auto it = mapping.named.find(peer.route.address);
  if (it != mapping.named.end() && it->second == peer.remote) mapping.named.erase(it);
}

UdpRelay::Peer& UdpRelay::peer_of(Mapping& mapping, const Endpoint& remote) {
  auto it = mapping.peers.find(remote);
  if (it != mapping.peers.end()) return it->second;
  if (mapping.peers.size() >= limits_.destinations) {
    auto oldest = std::min_element(
        mapping.peers.begin(), mapping.peers.end(),
        [](const auto& a, const auto& b) { return a.second.last < b.second.last; });
    end_peer(mapping, oldest->second, kMakesRoom);
    mapping.peers.erase(oldest);
  }
  Peer& peer = mapping.peers.emplace(remote, Peer{}).first->second;
  peer.remote = remote;
  peer.route = gate_.route_udp(mapping.guest, remote, 0);
  if (peer.route.kind == UdpRoute::Kind::send) {
    peer.record = {.grant = peer.route.grant, .opened = loop_.now()};
    mapping.named[peer.route.address] = remote;
    ++counters_.flows;
  }
  return peer;
}

std::optional<UdpRoute> UdpRelay::route_again(Mapping& mapping, Peer& peer, FlowId id) {
  UdpRoute route = gate_.route_udp(mapping.guest, peer.remote, id);
  if (route.kind != UdpRoute::Kind::send) return std::nullopt;
  if (!route.first_flight) return route;
  if (auto& flight = peer.route.first_flight) {
    for (const auto& name : {flight->name(), flight->unconfirmed()}) {
      if (name && !gate_.allow_named(Protocol::udp, mapping.guest, peer.remote, *name, id)) {
        return std::nullopt;
      }
    }
    // What was read of connections under way can't be read again.
    route.first_flight = std::move(flight);
  } else if (!gate_.allow_unread(Protocol::udp, mapping.guest, peer.remote, id)) {
    return std::nullopt;
  }
  return route;
}

void UdpRelay::go_on(Mapping& mapping, Peer& peer, UdpRoute route) {
  forget_name(mapping, peer);
  peer.record.grant = route.grant;
  peer.route = std::move(route);
  mapping.named[peer.route.address] = peer.remote;
  if (peer.route.first_flight || peer.held.empty()) return;
  while (!peer.held.empty()) release(mapping, peer, peer.held.front().connection);
  work_.add(mapping);
}

void UdpRelay::revoke(Mapping& mapping, Peer& peer) {
  if (peer.record.grant) peer.revoked = peer.record.grant.id;
  end_peer(mapping, peer, kRevoked);
  peer.held.clear();
  peer.route.kind = UdpRoute::Kind::prohibit;
  peer.route.hold.reset();
}

void UdpRelay::judge_again(RevokedFlows revoked) {
  for (auto& [key, mapping] : mappings_) {
    if (!mapping->retired()) judge_again(*mapping, revoked);
  }
}

void UdpRelay::judge_again(Mapping& mapping, RevokedFlows revoked) {
  bool is_used = false;
  for (auto it = mapping.peers.begin(); it != mapping.peers.end();) {
    Peer& peer = it->second;
    bool is_flow(peer.record.grant);
    FlowId id = is_flow ? peer.record.grant.id : peer.revoked;
    // Others were refused: they are asked about anew with their next datagram.
    bool stays = id != 0;
    if (stays && revoked == RevokedFlows::reset) {
      auto route = route_again(mapping, peer, id);
      if (!route) {
        revoke(mapping, peer);
      } else if (is_flow) {
        go_on(mapping, peer, std::move(*route));
      } else {
        stays = false;
      }
    }
    is_used |= bool(peer.record.grant);
    it = stays ? std::next(it) : mapping.peers.erase(it);
  }
  std::erase_if(mapping.queue, [&](const Queued& queued) {
    bool may_go = mapping.named.contains(queued.to);
    if (!may_go && queued.copy) mapping.queued_bytes -= queued.data.iov_len + kQueuedOverhead;
    return !may_go;
  });
  if (!is_used) mapping.socket.reset();
}

FlowSight UdpRelay::sight(const Mapping& mapping, const Peer& peer) {
  const DomainName* name = nullptr;
  if (peer.route.first_flight && peer.route.first_flight->name()) {
    name = &*peer.route.first_flight->name();
  }
  return {.record = peer.record,
          .protocol = Protocol::udp,
          .direction = Direction::egress,
          .state = !peer.held.empty() ? FlowState::inspecting
                   : peer.replied     ? FlowState::open
                                      : FlowState::unanswered,
          .guest = mapping.guest,
          .remote = peer.remote,
          .last = peer.last,
          .name = name};
}

void UdpRelay::end_peer(Mapping& mapping, Peer& peer, std::string_view reason) {
  forget_name(mapping, peer);
  peer.sought.reset();
  if (!peer.record.grant) return;
  gate_.on_flow_closed(sight(mapping, peer), reason);
  peer.record = {};
  --counters_.flows;
}

void UdpRelay::each_flow(const FlowVisitor& visit) const {
  for (const auto& [key, mapping] : mappings_) {
    if (mapping->retired()) continue;
    for (const auto& [remote, peer] : mapping->peers) {
      if (peer.record.grant) visit(sight(*mapping, peer));
    }
  }
}

bool UdpRelay::reset_flow(FlowId id) {
  for (auto& [key, mapping] : mappings_) {
    if (mapping->retired()) continue;
    for (auto it = mapping->peers.begin(); it != mapping->peers.end(); ++it) {
      if (it->second.record.grant.id != id) continue;
      end_peer(*mapping, it->second, "the operator ended it");
      mapping->peers.erase(it);
      return true;
    }
  }
  return false;
}

bool UdpRelay::may_pass(Mapping& mapping, Peer& peer, const wire::Packet& packet,
                        ConstBytes payload, std::uint8_t ttl) {
  using Step = policy::DatagramFlight::Step;
  policy::DatagramFlight& flight = *peer.route.first_flight;
  auto [step, connection] = flight.judge(payload, loop_.now());
  switch (step) {
    case Step::pass:
      if (connection != 0) release(mapping, peer, connection);
      return true;
    case Step::hold:
      hold(peer, connection, payload, ttl);
      if (flight.unconfirmed() && !peer.sought) seek_address(mapping, peer);
      return false;
    case Step::drop:
      return false;
    case Step::deny:
      break;
  }
  ++counters_.refused_by_name;
  std::erase_if(peer.held, [&](const Held& held) { return held.connection == connection; });
  gate_.on_first_flight_denied(Protocol::udp, mapping.guest, peer.remote, flight.denial(),
                               peer.record.grant.id);
  icmp_.send(packet.source(), packet.bytes(), wire::IcmpError::admin_prohibited);
  return false;
}

void UdpRelay::hold(Peer& peer, std::uint32_t connection, ConstBytes payload, std::uint8_t ttl) {
  if (peer.held.size() >= limits_.held_datagrams) {
    ++counters_.overflow;
    return;
  }
  peer.held.push_back({connection, {payload.begin(), payload.end()}, ttl, loop_.now()});
}

void UdpRelay::release(Mapping& mapping, Peer& peer, std::uint32_t connection) {
  for (Held& held : peer.held) {
    if (held.connection != connection) continue;
    peer.record.tx_bytes += held.data.size();
    Queued queued{peer.route.address, {}, BufferRef(), nullptr, held.ttl};
    queued.copy = std::make_unique_for_overwrite<std::uint8_t[]>(held.data.size());
    std::copy(held.data.begin(), held.data.end(), queued.copy.get());
    queued.data = {queued.copy.get(), held.data.size()};
    mapping.queued_bytes += held.data.size() + kQueuedOverhead;
    mapping.queue.push_back(std::move(queued));
  }
  std::erase_if(peer.held, [&](const Held& held) { return held.connection == connection; });
}

void UdpRelay::seek_address(Mapping& mapping, Peer& peer) {
  auto sought = std::make_shared<const DomainName>(*peer.route.first_flight->unconfirmed());
  peer.sought = sought;
  gate_.look_up(
      mapping.guest, *sought, peer.remote.address.family(),
      [this, &mapping, &peer, weak = std::weak_ptr(sought)](std::span<const IpAddress> addresses) {
        // Both are there as long as the destination seeks.
        if (auto awaited = weak.lock()) on_addresses(mapping, peer, addresses);
      });
}

void UdpRelay::on_addresses(Mapping& mapping, Peer& peer, std::span<const IpAddress> addresses) {
  peer.sought.reset();
  auto& flight = peer.route.first_flight;
  // It may have been given up, or judged anew.
  if (!flight || !flight->unconfirmed()) return;
  if (std::ranges::find(addresses, peer.remote.address) != addresses.end()) {
    release(mapping, peer, flight->confirm());
    work_.add(mapping);
    return;
  }
  std::uint32_t connection = flight->refuse(
      std::string(addresses.empty() ? ServerSearch::kUnresolved : ServerSearch::kElsewhere),
      ServerSearch::kDecider);
  ++counters_.refused_by_name;
  auto held = std::ranges::find(peer.held, connection, &Held::connection);
  if (held != peer.held.end()) {
    Quote original;
    ConstBytes packet = quote(original, mapping.guest, peer.remote, held->data);
    icmp_.send(mapping.guest.address, packet, wire::IcmpError::admin_prohibited);
  }
  std::erase_if(peer.held, [&](const Held& one) { return one.connection == connection; });
  gate_.on_first_flight_denied(Protocol::udp, mapping.guest, peer.remote, flight->denial(),
                               peer.record.grant.id);
}

void UdpRelay::give_up_held(Mapping& mapping, Peer& peer) {
  if (peer.held.empty() || loop_.now() - peer.held.front().since < limits_.held) return;
  using Step = policy::DatagramFlight::Step;
  if (peer.route.first_flight->give_up("it took too long") == Step::pass) {
    while (!peer.held.empty()) release(mapping, peer, peer.held.front().connection);
    work_.add(mapping);
    return;
  }
  ++counters_.refused_by_name;
  peer.held.clear();
  gate_.on_first_flight_denied(Protocol::udp, mapping.guest, peer.remote,
                               peer.route.first_flight->denial(), peer.record.grant.id);
}

void UdpRelay::on_datagram(const wire::Packet& packet, const wire::UdpView& datagram,
                           const BufferRef& buffer) {
  Endpoint guest{packet.source(), datagram.source_port()};
  Endpoint remote{packet.destination(), datagram.destination_port()};
  Mapping& mapping = mapping_of(guest);
  Peer& peer = peer_of(mapping, remote);
  peer.last = loop_.now();
  if (peer.route.kind != UdpRoute::Kind::send) {
    ++counters_.refused_by_policy;
    if (peer.route.kind == UdpRoute::Kind::prohibit) {
      icmp_.send(packet.source(), packet.bytes(), wire::IcmpError::admin_prohibited);
    }
    return;
  }
  if (!mapping.socket) {
    if (Status status = open_socket(mapping); !status) {
      if (counters_.no_socket++ == 0) {
        log(LogLevel::warn, "udp {}: {}", guest.to_string(), status.message());
      }
      icmp_.send(packet.source(), packet.bytes(), wire::IcmpError::host_unreachable);
      close(mapping, "the host has no socket for it");
      work_.sweep();
      return;
    }
  }
  ConstBytes payload = datagram.payload();
  // A router takes one off the hop count; the usual one is what the host would use itself.
  std::uint8_t ttl =
      packet.ttl() < kUsualTtl ? static_cast<std::uint8_t>(packet.ttl() - 1) : kUsualTtl;
  if (peer.route.first_flight && !may_pass(mapping, peer, packet, payload, ttl)) return;
  auto* data = const_cast<std::uint8_t*>(payload.data());  // NOLINT: iovec, only read
  peer.record.tx_bytes += payload.size();
  mapping.queue.push_back({peer.route.address, {data, payload.size()}, buffer, nullptr, ttl});
  work_.add(mapping);
}

void UdpRelay::run() {
  work_.run([this](Mapping& mapping) {
    send(mapping);
    if (mapping.socket && mapping.readable && receive(mapping)) work_.add(mapping);
  });
}

void UdpRelay::send(Mapping& mapping) {
  std::size_t done = 0;
  while (done < mapping.queue.size() && mapping.writable) {
    std::array<OutDatagram, kSendBatch> batch;
    std::uint8_t ttl = mapping.queue[done].ttl;
    std::size_t count = 0;
    for (std::size_t i = done; i < mapping.queue.size() && count < kSendBatch; ++i) {
      if (mapping.queue[i].ttl != ttl) break;
      batch[count++] = {mapping.queue[i].to, {&mapping.queue[i].data, 1}};
    }
    if (ttl != mapping.ttl) {
      mapping.socket->set_ttl(ttl);
      mapping.ttl = ttl;
    }
    IoResult result = mapping.socket->send_batch(std::span(batch).first(count));
    done += result.bytes;
    counters_.to_host += result.bytes;
    if (result.bytes == count) continue;
    if (result.would_block()) {
      mapping.writable = false;
    } else if (result.error != 0) {
      Queued& failed = mapping.queue[done++];
      ++counters_.send_failed;
      report(mapping, {.error = result.error, .destination = failed.to},
             {static_cast<std::uint8_t*>(failed.data.iov_base), failed.data.iov_len});
    }
  }
  for (std::size_t i = 0; i < done; ++i) {
    if (!mapping.queue[i].copy) continue;
    mapping.queued_bytes -= mapping.queue[i].data.iov_len + kQueuedOverhead;
  }
  mapping.queue.erase(mapping.queue.begin(),
                      mapping.queue.begin() + static_cast<std::ptrdiff_t>(done));
  // What has to wait must not hold on to the attachment's buffers.
  std::erase_if(mapping.queue, [&](Queued& queued) {
    if (queued.copy) return false;
    std::size_t cost = queued.data.iov_len + kQueuedOverhead;
    if (mapping.queued_bytes + cost > limits_.queued_bytes) {
      ++counters_.overflow;
      return true;
    }
    queued.copy = std::make_unique_for_overwrite<std::uint8_t[]>(queued.data.iov_len);
    std::memcpy(queued.copy.get(), queued.data.iov_base, queued.data.iov_len);
    queued.data.iov_base = queued.copy.get();
    queued.buffer = BufferRef();
    mapping.queued_bytes += cost;
    return false;
  });
}

bool UdpRelay::receive(Mapping& mapping) {
  TimePoint now = loop_.now();
  if (std::exchange(mapping.failed, false)) {
    while (auto error = mapping.socket->take_queued_error()) {
      report(mapping, *error, error->payload);
    }
  }
  for (std::size_t received = 0; received < kReceivedPerTurn;) {
    auto [datagrams, drained] = mapping.socket->receive_batch();
    mapping.readable = !drained;
    if (datagrams.empty()) return false;
    received += datagrams.size();
    by_age_.splice(by_age_.end(), by_age_, mapping.age);
    for (const InDatagram& datagram : datagrams) {
      Endpoint remote = datagram.peer;
      auto named = mapping.named.find(datagram.peer);
      if (named != mapping.named.end()) {
        Peer& peer = mapping.peers.find(named->second)->second;
        peer.last = now;
        peer.replied = true;
        peer.record.rx_bytes += datagram.data.size();
        remote = peer.remote;
      } else if (limits_.filter == UdpFilter::contacted || remote.address.is_loopback()) {
        ++counters_.filtered;
        continue;
      }
      ++counters_.to_guest;
      output_.send_udp(remote, mapping.guest, datagram.data);
    }
    if (drained) return false;
  }
  return true;
}

void UdpRelay::report(Mapping& mapping, const SocketError& cause, ConstBytes payload) {
  auto error = icmp_for(cause, mapping.guest.address.family());
  auto named = mapping.named.find(cause.destination);
  if (!error || named == mapping.named.end()) return;
  Quote original;
  if (ConstBytes packet = quote(original, mapping.guest, named->second, payload); !packet.empty()) {
    icmp_.pass_on(cause, mapping.guest.address, packet, *error);
  }
}

void UdpRelay::expire() {
  TimePoint now = loop_.now();
  for (auto& [key, mapping] : mappings_) {
    if (mapping->retired()) continue;
    for (auto& [remote, peer] : mapping->peers) give_up_held(*mapping, peer);
    for (auto it = mapping->peers.begin(); it != mapping->peers.end();) {
      Peer& peer = it->second;
      bool over = now - peer.last >= (peer.replied ? limits_.replied : limits_.unreplied);
      if (over) end_peer(*mapping, peer, "nothing moved for too long");
      it = over ? mapping->peers.erase(it) : std::next(it);
    }
    if (mapping->peers.empty()) close(*mapping, {});
  }
  work_.sweep();
  if (!mappings_.empty()) timer_->start(kExpireInterval);
}

void UdpRelay::close(Mapping& mapping, std::string_view reason) {
  if (!work_.retire(mapping)) return;
  by_age_.erase(mapping.age);
  for (auto& [remote, peer] : mapping.peers) end_peer(mapping, peer, reason);
}

void UdpRelay::clear() {
  for (auto& [key, mapping] : mappings_) close(*mapping, "the guest is gone");
  work_.sweep();
}

UdpCounters UdpRelay::counters() const {
  UdpCounters counters = counters_;
  counters.mappings = mappings_.size();
  return counters;
}

}  // namespace sluice::flow
