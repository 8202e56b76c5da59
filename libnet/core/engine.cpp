#include "core/engine.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "core/config_check.h"
#include "core/policy_source.h"

namespace sluice::core {

namespace {

DomainName in_zone(const std::string& label) {
  return *DomainName::parse(label + ".vm.internal");
}

/// For resolvers over TLS: read now, where the file may be out of reach later. Nothing where there
/// is no such resolver.
Result<std::shared_ptr<const dns::TlsTrust>> load_trust(const NetworkConfig& config) {
  auto uses_tls = [](const DnsResolver& resolver) { return resolver.uses_tls(); };
  auto any = [&](const std::vector<DnsResolver>& list) {
    return std::any_of(list.begin(), list.end(), uses_tls);
  };
  bool is_needed = !config.dns_ca.empty() || any(config.dns_upstreams) ||
                   std::any_of(config.dns_split.begin(), config.dns_split.end(),
                               [&](const DnsSplit& split) { return any(split.resolvers); });
  if (!is_needed) return std::shared_ptr<const dns::TlsTrust>();
  return dns::TlsTrust::load(config.dns_ca);
}

link::PortCounters operator+(link::PortCounters a, const link::PortCounters& b) {
  a.tx_frames += b.tx_frames;
  a.tx_bytes += b.tx_bytes;
  a.rx_frames += b.rx_frames;
  a.rx_bytes += b.rx_bytes;
  a.tx_malformed += b.tx_malformed;
  a.rx_refused += b.rx_refused;
  a.rx_lost += b.rx_lost;
  a.wakes += b.wakes;
  return a;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(Loop& loop, HostNet& host, NetworkConfig config) {
  auto gateway_config = make_gateway_config(config);
  if (!gateway_config) return gateway_config.status();
  std::unique_ptr<Engine> engine(
      new Engine(loop, host, std::move(config), *gateway_config));  // NOLINT: private constructor
  if (Status status = engine->start(); !status) return status;
  return engine;
}

Engine::Engine(Loop& loop, HostNet& host, NetworkConfig config,
               const gateway::Config& gateway_config)
    : loop_(loop),
      host_(host),
      config_(std::move(config)),
      gateway_config_(gateway_config),
      sender_(loop, gateway_config_),
      icmp_answers_(loop, sender_),
      gatekeeper_(loop, gateway_config_, config_.reverse,
                  {.on_denied = config_.on_denied,
                   .on_violation = config_.on_violation,
                   .on_flow = config_.on_flow}),
      reassembler_(HashKey::random()) {
  using policy::AllowedName, policy::EncryptedHello, policy::Unidentified;
  bool lets_unidentified = config_.unidentified == Action::allow;
  bool lets_hidden = config_.encrypted_hello == Action::allow;
  gatekeeper_.set_first_flight_options(
      {.unidentified = lets_unidentified ? Unidentified::allow_if_bound : Unidentified::deny,
       .encrypted_hello = lets_hidden ? EncryptedHello::allow : EncryptedHello::deny,
       .allowed_name =
           config_.resolve_and_dial ? AllowedName::awaits_server : AllowedName::passes});
}

Engine::~Engine() {
  // Frames in the port refer to what flows hold, and flows to lwIP.
  publisher_.reset();
  if (tcp_) tcp_->reset_all();
  if (udp_) udp_->clear();
  port_.reset();
  tcp_.reset();
  tcp_engine_.reset();
}

Status Engine::start() {
  auto routes =
      HostRoutes::open(loop_, [this](const HostRoutesSnapshot&) { follow_host_routes(); });
  if (!routes) return routes.status();
  host_routes_ = std::move(*routes);
  if (Status status = use_policy(config_.policy); !status) return status;
  for (const policy::Warning& warning : gatekeeper_.policy().warnings()) {
    log(LogLevel::warn, "policy: {}", warning.text);
  }

  if (!config_.lease_file.empty()) {
    lease_store_ = std::make_unique<gateway::FileLeaseStore>(
        config_.lease_file, [this] { return loop_.wall_time_ns() / 1'000'000'000; });
  }
  gateway_ = std::make_unique<gateway::Gateway>(
      gateway_config_, HashKey::random(), [this](ConstBytes frame) { sender_.send_frame(frame); },
      lease_store_.get(), loop_.now());
  sender_.set_gateway(gateway_.get());
  gateway_->set_resolved_handler([this](const IpAddress& address, std::optional<MacAddress> mac) {
    sender_.on_resolved(address, mac);
    if (mac) {
      // Not from inside the router's call: it is still at work.
      loop_.defer([this] { tcp_engine_->retry_blocked(); });
      schedule();
    }
  });

  auto records = dns::parse_record_set(config_.dns_records, config_.dns_zones);
  if (!records) return records.status();
  auto trust = load_trust(config_);
  if (!trust) return trust.status();
  dns_ = std::make_unique<dns::Service>(
      loop_, host_,
      dns::Options{.denied_names = config_.denied_names,
                   .limits = config_.dns_limits,
                   .stale_if_error = config_.dns_stale_if_error,
                   .tls_trust = std::move(*trust)},
      dns::Hooks{[this](const dns::Lookup& lookup) { return gatekeeper_.may_query(lookup); },
                 [this](const dns::AnswerNotice& notice) { return gatekeeper_.on_answer(notice); },
                 [this](const dns::Lookup& lookup, dns::Limit limit) {
                   gatekeeper_.on_limit(lookup, limit);
                 }});
  gatekeeper_.set_dns(dns_.get());
  dns_->set_records(std::move(*records));
  dns_->set_split(config_.dns_split);
  set_local_names();
  use_upstreams(config_.dns_upstreams);

  auto engine = stack::TcpEngine::create(
      {.mtu = gateway_config_.mtu, .memory_budget = config_.memory_bytes}, sender_);
  if (!engine) return engine.status();
  tcp_engine_ = std::move(*engine);
  tcp_ = std::make_unique<flow::TcpRelay>(loop_, host_, *tcp_engine_, gatekeeper_, icmp_answers_,
                                          flow::TcpLimits{.flows = config_.max_flows,
                                                          .held_syns = config_.max_held_syns,
                                                          .idle = config_.tcp_idle});
  tcp_->set_on_work([this] { schedule(); });
  udp_ = std::make_unique<flow::UdpRelay>(loop_, host_, gatekeeper_, sender_, icmp_answers_,
                                          flow::UdpLimits{});
  udp_->set_on_work([this] { schedule(); });
  icmp_ = std::make_unique<flow::IcmpRelay>(loop_, host_, gatekeeper_, sender_, icmp_answers_);
  icmp_->set_on_work([this] { schedule(); });

  dispatcher_ = std::make_unique<Dispatcher>(
      Dispatcher::Parts{.loop = loop_,
                        .gateway = *gateway_,
                        .sender = sender_,
                        .reassembler = reassembler_,
                        .tcp = *tcp_,
                        .udp = *udp_,
                        .icmp = *icmp_,
                        .dns = *dns_,
                        .published =
                            [this](const wire::Packet& packet, const wire::UdpView& datagram) {
                              return publisher_->on_guest_datagram(packet, datagram);
                            },
                        .end_batch = [this] { run_batch(); },
                        .flush_later = [this] { schedule(); },
                        .on_space =
                            [this] {
                              tcp_engine_->retry_blocked();
                              run_batch();
                            },
                        .on_link = [this](bool up) { on_link(up); }});
  tick_timer_ = loop_.make_timer([this] { on_tick(); });
  gateway_timer_ = loop_.make_timer([this] {
    gateway_->tick(loop_.now());
    run_batch();
  });
  link_timer_ = loop_.make_timer([this] {
    tcp_->reset_all();
    udp_->clear();
  });
  publisher_ = std::make_unique<flow::Publisher>(
      loop_, host_, *tcp_, gatekeeper_, sender_,
      flow::PublisherOptions{
          .guest_address = [this](Family family) { return gateway_->guest_address(family); },
          .guest_heard = [this] { return port_ && port_->counters().tx_frames > 0; },
          .guest_prefixes = {gateway_config_.subnet4, gateway_config_.prefix6},
          .routed_prefixes = gateway_config_.routed});
  publisher_->set_on_work([this] { schedule(); });
  for (const PublishSpec& spec : config_.publish) {
    if (auto ports = publisher_->publish(spec); !ports) return ports.status();
  }
  follow_host_routes();
  arm_timers();
  return Status::ok();
}

Result<UniqueFd> Engine::connect_to_guest(const std::optional<IpAddress>& address, Port port) {
  Endpoint guest{address.value_or(gateway_->guest_address(Family::v4)), port};
  auto has_it = [&guest](const IpPrefix& one) { return one.contains(guest.address); };
  if (!has_it(gateway_config_.subnet4) && !has_it(gateway_config_.prefix6) &&
      std::ranges::none_of(gateway_config_.routed, has_it)) {
    return Status(
        StatusCode::invalid_argument,
        fmt::format("{} is no address of the guest's network", guest.address.to_string()));
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return Status::from_errno(errno, "socketpair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  auto client = host_.adopt(std::move(ours));
  if (!client) return client.status();
  if (Status status = publisher_->connect(std::move(*client), guest); !status) return status;
  return theirs;
}

policy::HostView Engine::host_view() const {
  return make_host_view(gateway_config_, host_routes_->snapshot());
}

Status Engine::use_policy(const PolicyText& text) {
  policy::HostView view = host_view();
  auto policy = compile_policy(text, view, gatekeeper_.generation() + 1);
  if (!policy) return policy.status();
  gatekeeper_.set_policy(std::move(*policy));
  policy_view_ = std::move(view);
  return Status::ok();
}

Status Engine::set_policy(PolicyText policy, const DnsChange& dns) {
  // Everything that can fail comes before anything changes.
  auto records = dns::change_records(dns_->records(), dns);
  if (!records) return records.status();
  if (Status status = use_policy(policy); !status) return status;
  config_.policy = std::move(policy);
  use_dns(std::move(*records), dns, config_.revoked_flows);
  return Status::ok();
}

Status Engine::change_dns(const DnsChange& change) {
  auto records = dns::change_records(dns_->records(), change);
  if (!records) return records.status();
  use_dns(std::move(*records), change, RevokedFlows::keep);
  return Status::ok();
}

void Engine::use_dns(dns::RecordChange records, const DnsChange& change, RevokedFlows revoked) {
  if (gatekeeper_.forget(records)) revoked = RevokedFlows::reset;
  dns_->set_records(std::move(records.records));
  config_.dns_split = dns::change_split(std::move(config_.dns_split), change);
  dns_->set_split(config_.dns_split);
  if (change.upstreams && *change.upstreams != config_.dns_upstreams) {
    config_.dns_upstreams = *change.upstreams;
    use_upstreams(config_.dns_upstreams);
  }
  judge_again(revoked);
}

void Engine::use_upstreams(const std::vector<DnsResolver>& resolvers) {
  resolvers_.reset();
  dns_->set_upstreams(resolvers);
  if (!resolvers.empty()) return;
  resolvers_ = std::make_unique<dns::HostResolvers>(
      loop_, config_.resolv_conf, [this](const std::vector<Endpoint>& host) {
        dns_->set_upstreams({host.begin(), host.end()});
      });
}

void Engine::judge_again(RevokedFlows revoked) {
  tcp_->judge_again(revoked);
  udp_->judge_again(revoked);
  publisher_->judge_again(revoked);
  dns_->judge_again();
  schedule();
}

void Engine::set_local_names() {
  dns::LocalZone& zone = dns_->local_zone();
  std::vector<IpAddress> host{gateway_config_.host_alias4};
  if (gateway_config_.host_alias6) host.push_back(*gateway_config_.host_alias6);
  zone.set_addresses(in_zone("host"), host);
  zone.set_addresses(in_zone("gateway"), {gateway_config_.gateway4, gateway_config_.gateway6});
  zone.set_addresses(in_zone(gateway_config_.guest_name),
                     {gateway_config_.first_guest4, gateway_config_.first_guest6});
  zone.set_addresses(*DomainName::parse("host.docker.internal"), host);
  zone.set_addresses(*DomainName::parse("host.containers.internal"), host);
  zone.own_reverse(gateway_config_.subnet4);
  zone.own_reverse(gateway_config_.prefix6);
}

void Engine::follow_host_routes() {
  if (!gateway_) return;
  bool has_route = host_routes_->snapshot().ipv6_default;
  gateway_->set_ipv6_default_route(
      has_route ? gateway::DefaultRoute::present : gateway::DefaultRoute::absent, loop_.now());
  if (host_view() != policy_view_) {
    if (Status status = use_policy(config_.policy); status) {
      judge_again(RevokedFlows::reset);
    } else {
      log(LogLevel::error, "policy: still for the host's former addresses: {}", status.message());
    }
  }
  schedule();
}

Status Engine::attach(std::unique_ptr<link::GuestPort> port) {
  if (port_ && !guest_gone_) {
    return Status(StatusCode::already_exists,
                  "a guest is attached already; detach it first, or start another process");
  }
  detach();
  port_ = std::move(port);
  sender_.set_port(port_.get());
  port_->set_handler(dispatcher_.get());
  return Status::ok();
}

void Engine::detach() {
  if (!port_) return;
  tcp_->reset_all();
  udp_->clear();
  sender_.set_port(nullptr);
  past_ports_ = past_ports_ + port_->counters();
  port_.reset();
  link_timer_->stop();
  guest_gone_ = false;
}

void Engine::on_link(bool up) {
  guest_gone_ = !up;
  if (up) {
    link_timer_->stop();
    gateway_->link_up(loop_.now());
    tcp_engine_->retry_blocked();
    run_batch();
  } else {
    link_timer_->start(kLinkGrace);
  }
}

void Engine::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_.defer([this] {
    scheduled_ = false;
    run_batch();
  });
}

void Engine::run_batch() {
  if (tcp_->has_work()) tcp_->run();
  tcp_engine_->keep_lent();
  if (udp_->has_work()) udp_->run();
  if (icmp_->has_work()) icmp_->run();
  if (publisher_ && publisher_->has_work()) publisher_->run();
  sender_.flush();
  arm_timers();
}

void Engine::arm_timers() {
  constexpr auto kTick = std::chrono::milliseconds(stack::TcpEngine::kTickMs);
  if (!tick_timer_->active() &&
      (tcp_engine_->needs_tick() || tcp_->needs_tick() || reassembler_.sets() > 0)) {
    tick_timer_->start(kTick);
  }
  TimePoint due = gateway_->next_due();
  if (due == gateway_due_ && gateway_timer_->active()) return;
  gateway_due_ = due;
  gateway_timer_->start(std::max<Duration>(due - loop_.now(), std::chrono::milliseconds(1)));
}

void Engine::on_tick() {
  tcp_engine_->tick(!dispatcher_->take_heard());
  tcp_->tick();
  reassembler_.expire(loop_.now(), {});
  run_batch();
  // Nothing is under way any more: what a burst of flows needed goes back to the host.
  if (!tick_timer_->active()) ::malloc_trim(0);
}

void Engine::forget(const DomainName& name) {
  gatekeeper_.forget(name);
  judge_again(RevokedFlows::reset);
}

FlowList Engine::flow_list() {
  return {loop_, gatekeeper_.names(), [this](const flow::FlowVisitor& visit) {
            tcp_->each_flow(visit);
            udp_->each_flow(visit);
            icmp_->each_flow(visit);
            publisher_->each_flow(visit);
          }};
}

Result<FlowPage> Engine::flows(const FlowFilter& filter) {
  return flow_list().page(filter);
}

std::optional<FlowInfo> Engine::flow(FlowId id) {
  return flow_list().one(id);
}

Result<bool> Engine::reset_flow(FlowId id) {
  if (id == 0 || id >= gatekeeper_.next_flow()) {
    return Status(StatusCode::not_found, fmt::format("there never was a flow {}", id));
  }
  bool found = tcp_->reset_flow(id) || udp_->reset_flow(id) || icmp_->reset_flow(id) ||
               publisher_->reset_flow(id);
  schedule();
  return found;
}

NetworkCounters Engine::counters() const {
  NetworkCounters out;
  link::PortCounters port = past_ports_;
  if (port_) port = port + port_->counters();
  flow::TcpCounters tcp = tcp_->counters();
  flow::UdpCounters udp = udp_->counters();
  stack::TcpEngineCounters engine = tcp_engine_->counters();
  const dns::Counters& dns = dns_->counters();
  const DispatchCounters& dispatch = dispatcher_->counters();
  const SenderCounters& sender = sender_.counters();
  out.tx_frames = port.tx_frames;
  out.tx_bytes = port.tx_bytes;
  out.rx_frames = port.rx_frames;
  out.rx_bytes = port.rx_bytes;
  out.tcp_flows = tcp.flows;
  out.udp_flows = udp.flows + publisher_->counters().udp_mappings;
  out.icmp_flows = icmp_->counters().pending;
  out.held_syns = tcp.held_syns;
  out.tcp_opened = tcp.opened;
  out.tcp_retransmissions = engine.retransmissions;
  out.memory_bytes = engine.memory_bytes;
  out.denials = gatekeeper_.denials();
  out.dns_queries = dns.queries_udp + dns.queries_tcp;
  auto drop = [&](const char* cause, std::uint64_t count) {
    if (count > 0) out.drops.emplace_back(cause, count);
  };
  drop("frame_malformed", port.tx_malformed);
  drop("frame_lost_link_down", port.rx_lost);
  drop("malformed", dispatch.malformed);
  drop("bad_checksum", dispatch.bad_checksum);
  drop("unknown_ethertype", dispatch.unknown_ethertype);
  drop("unknown_protocol", dispatch.unknown_protocol);
  drop("spoofed", dispatch.spoofed);
  drop("not_for_us", dispatch.not_for_us);
  drop("ttl_exceeded", dispatch.ttl_exceeded);
  drop("guest_port_full", sender.packets_refused);
  drop("guest_unresolved", sender.packets_unresolved);
  drop("no_guest", sender.packets_no_guest);
  drop("limit_flows", tcp.limit_flows);
  drop("limit_held_syns", tcp.limit_held);
  drop("limit_held_per_destination", tcp.limit_destination);
  drop("limit_memory", tcp.limit_memory);
  drop("udp_filtered", udp.filtered);
  drop("udp_overflow", udp.overflow);
  drop("udp_send_failed", udp.send_failed);
  drop("udp_no_socket", udp.no_socket);
  drop("icmp_rate_limit", icmp_answers_.suppressed());
  drop("udp_evicted", udp.evicted);
  drop("dns_overloaded", dns.overloaded);
  return out;
}

}  // namespace sluice::core
