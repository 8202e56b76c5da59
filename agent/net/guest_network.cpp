#include "agent/net/guest_network.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace sluice::agent {
namespace {

using std::chrono::seconds;

// What a resolver reads of a list (glibc takes 3 servers and, before 2.26, 6 names).
constexpr std::size_t kMaxDnsServers = 8;
constexpr std::size_t kMaxSearch = 32;
// A DHCP message is a UDP datagram in one packet.
constexpr std::uint32_t kIpAndUdpHeaders = 28;

template <typename T>
void append_new(std::vector<T>& list, const std::vector<T>& more, std::size_t most) {
  for (const T& value : more) {
    if (list.size() < most && std::ranges::count(list, value) == 0) list.push_back(value);
  }
}

const Link* find_link(const std::vector<Link>& links, int index) {
  auto found = std::ranges::find(links, index, &Link::index);
  return found == links.end() ? nullptr : &*found;
}

/// Whether both mean the same but for the addresses' lifetimes.
bool same_setup(const InterfaceSetup& one, const InterfaceSetup& other) {
  auto same = [](const InterfaceAddress& a, const InterfaceAddress& b) { return a.is_same(b); };
  return one.mtu == other.mtu && one.routes == other.routes &&
         std::ranges::equal(one.addresses, other.addresses, same);
}

}  // namespace

GuestNetwork::GuestNetwork(Loop& loop, Roots roots, Netlink netlink, OnChange on_change)
    : loop_(loop),
      roots_(std::move(roots)),
      sysctl_(roots_.proc_sys),
      netlink_(std::move(netlink)),
      on_change_(std::move(on_change)),
      refresh_timer_(loop.make_timer([this] { refresh(); })) {}

GuestNetwork::~GuestNetwork() = default;

Result<std::unique_ptr<GuestNetwork>> GuestNetwork::create(Loop& loop, Roots roots,
                                                           OnChange on_change) {
  auto netlink = Netlink::open();
  if (!netlink) return netlink.status();
  std::unique_ptr<GuestNetwork> network(
      new GuestNetwork(loop, std::move(roots), std::move(*netlink), std::move(on_change)));
  auto monitor = NetlinkMonitor::open(loop, [self = network.get()](const NetworkChange& change) {
    self->on_kernel_change(change);
  });
  if (!monitor) return monitor.status();
  network->monitor_ = std::move(*monitor);

  auto links = network->netlink_.links();
  if (!links) return links.status();
  for (const Link& link : *links) {
    if (!link.loopback || link.up) continue;
    Status status = network->netlink_.set_state(link.index, LinkState::up);
    if (!status) return status;
  }
  return network;
}

Status GuestNetwork::configure(const NetworkConfig& config) {
  if (Status status = check(config); !status) return status;
  if (config_ == config) return Status::ok();
  config_ = config;
  prepare_due_ = forwarding_due_ = true;
  refresh_soon(Duration::zero());
  return Status::ok();
}

Status GuestNetwork::set_forwarding(Forwarding forwarding) {
  if (config_) config_->forwarding = forwarding;
  forwarding_due_ = false;
  // A router listens to no other unless told to, and forgets those it knows (accept_ra = 2).
  if (config_ && nic_) prepare(*nic_);
  std::string_view value = forwarding == Forwarding::on ? "1" : "0";
  Status v4 = sysctl_.write("net/ipv4/ip_forward", value);
  Status v6 = sysctl_.write("net/ipv6/conf/all/forwarding", value);
  bool no_ipv6 = v6.code() == StatusCode::not_found;
  return !v4 || no_ipv6 ? v4 : v6;
}

void GuestNetwork::revalidate() {
  if (client_) client_->revalidate();
}

void GuestNetwork::on_kernel_change(const NetworkChange& change) {
  if (!config_) return;
  if (const auto* dns = std::get_if<RouterDns>(&change)) {
    if (!nic_ || dns->link != nic_->index || config_->ipv6 != Ipv6Mode::adverts) return;
    router_dns_.learn(*dns, loop_.now());
  }
  if (concerns_us(change)) refresh_soon(kSettle);
}

/// Whether it can make a difference: not the comings and goings of containers.
bool GuestNetwork::concerns_us(const NetworkChange& change) const {
  int nic = nic_ ? nic_->index : 0;
  if (const auto* link = std::get_if<LinkChange>(&change)) {
    const Link& changed = link->link;
    return changed.index == nic || changed.kind.empty() || changed.name == config_->interface;
  }
  if (const auto* own = std::get_if<AddressChange>(&change)) return own->address.link == nic;
  if (const auto* way = std::get_if<RouteChange>(&change)) return way->route.link == nic;
  return true;
}

void GuestNetwork::on_dhcp_bound(const wire::DhcpLease& lease) {
  lease_ = lease;
  lease_told_ = loop_.now();
  apply_due_ = true;
  refresh_soon(Duration::zero());
}

void GuestNetwork::on_dhcp_lost(const wire::DhcpLease&) {
  lease_.reset();
  refresh_soon(Duration::zero());
}

/// At the latest after `delay`.
void GuestNetwork::refresh_soon(Duration delay) {
  TimePoint due = loop_.now() + delay;
  if (refresh_timer_->active() && refresh_due_ <= due) return;
  refresh_due_ = due;
  refresh_timer_->start(delay);
}

void GuestNetwork::note(const Status& status) {
  if (status) return;
  if (problem_.empty()) {
    // Each once, not each time that it is tried again.
    if (state_.problem != status.message()) log(LogLevel::warn, "network: {}", status.message());
    problem_ = status.message();
  }
  refresh_soon(kRetry);
}

void GuestNetwork::set_sysctl(const std::string& key, std::string_view value) const {
  Status status = sysctl_.write(key, value);
  // Kernels are built with different settings.
  if (!status && status.code() != StatusCode::not_found) {
    log(LogLevel::warn, "network: {}", status.message());
  }
}

void GuestNetwork::refresh() {
  if (!config_) return;
  problem_.clear();
  auto links = netlink_.links();
  if (!links) {
    note(links.status());
    return report();
  }
  std::optional<Link> found = find_nic(*links);
  if (nic_ && (!found || found->index != nic_->index)) drop_nic(*links);
  if (found) {
    if (!nic_) take_nic(*found);
    if (prepare_due_) prepare(*found);
    prepare_due_ = false;
    follow_carrier(*found);
    nic_ = found;
    follow_dhcp(*found);
    set_up(*found);
  }
  if (forwarding_due_) {
    Status status = set_forwarding(config_->forwarding);
    note(status);
    forwarding_due_ = !status;
  }
  report();
}

std::optional<Link> GuestNetwork::find_nic(const std::vector<Link>& links) const {
  if (!config_->interface.empty()) {
    auto named = std::ranges::find(links, config_->interface, &Link::name);
    return named == links.end() ? std::nullopt : std::optional(*named);
  }
  auto candidates = nic_candidates(links, roots_.sys_class_net);
  if (candidates.empty()) return std::nullopt;
  if (nic_) {
    // One that works is not given up for a better one, nor at once when its carrier goes.
    const Link* current = find_link(candidates, nic_->index);
    bool patient = loop_.now() < waiting_since_ + kCarrierGrace;
    if (current && (current->carrier || patient)) return *current;
  }
  return candidates.front();
}

void GuestNetwork::take_nic(const Link& link) {
  log(LogLevel::info, "network: {} ({}) is the NIC", link.name, link.mac.to_string());
  waiting_since_ = loop_.now();
  had_carrier_ = false;
  original_mtu_ = link.mtu;
  prepare_due_ = true;
}

void GuestNetwork::drop_nic(const std::vector<Link>& links) {
  client_.reset();
  dhcp_socket_.reset();
  lease_.reset();
  router_dns_.clear();
  // Of a device that is gone the kernel has removed everything.
  if (const Link* link = find_link(links, nic_->index)) note(apply(netlink_, *link, applied_, {}));
  applied_ = {};
  nic_.reset();
}

/// What must be set before the link is up, so that the kernel begins with it.
void GuestNetwork::prepare(const Link& link) {
  // Else the loss of one address takes those of its subnet along: see Netlink::remove_address.
  set_sysctl("net/ipv4/conf/" + link.name + "/promote_secondaries", "1");
  std::string ipv6 = "net/ipv6/conf/" + link.name + "/";
  bool by_adverts = config_->ipv6 == Ipv6Mode::adverts;
  bool routes = config_->forwarding == Forwarding::on;
  set_sysctl(ipv6 + "accept_ra", !by_adverts ? "0" : routes ? "2" : "1");
  set_sysctl(ipv6 + "autoconf", by_adverts ? "1" : "0");
  // EUI-64: the address follows from the MAC, so that the host knows it (RFC 4291 appendix A).
  set_sysctl(ipv6 + "addr_gen_mode", "0");
  // On a network where a MAC is one guest's, so is what follows from it: two seconds less to wait
  // for the first address and for the solicitation that comes after it (RFC 4862 section 5.4).
  set_sysctl(ipv6 + "accept_dad", "0");
  set_sysctl(ipv6 + "router_solicitation_delay", "0");
  set_sysctl(ipv6 + "router_solicitation_interval", "1");
  set_sysctl(ipv6 + "disable_ipv6", config_->ipv6 == Ipv6Mode::off ? "1" : "0");
}

void GuestNetwork::follow_carrier(const Link& link) {
  if (!link.up) {
    note(netlink_.set_state(link.index, LinkState::up));
    // Routes and IPv6 addresses went with it.
    apply_due_ = true;
  }
  if (link.carrier == had_carrier_) {
    if (!link.carrier) refresh_soon(kCarrierGrace);
    return;
  }
  had_carrier_ = link.carrier;
  if (!link.carrier) {
    waiting_since_ = loop_.now();
    return refresh_soon(kCarrierGrace);
  }
  carrier_since_ = loop_.now();
  // It may be another network at the other end.
  apply_due_ = true;
  revalidate();
}

void GuestNetwork::follow_dhcp(const Link& link) {
  if (config_->ipv4 != Ipv4Mode::dhcp) {
    client_.reset();
    dhcp_socket_.reset();
    lease_.reset();
    return;
  }
  if (client_ || !link.carrier) return;
  auto socket = DhcpSocket::open(loop_, link);
  if (!socket) return note(socket.status());
  dhcp_socket_ = std::move(*socket);
  DhcpClientConfig config;
  config.mac = link.mac;
  config.host_name = config_->host_name;
  config.max_message =
      static_cast<std::uint16_t>(std::clamp(link.mtu, 604u, 1500u) - kIpAndUdpHeaders);
  DhcpClientEvents& events = *this;
  client_ = std::make_unique<DhcpClient>(loop_, *dhcp_socket_, std::move(config), events);
  client_->start();
}

InterfaceSetup GuestNetwork::wanted_setup(const Link& link) const {
  InterfaceSetup setup;
  setup.mtu = config_->mtu;
  for (const AddressOnLink& own : config_->addresses) {
    InterfaceAddress address;
    address.link = link.index;
    address.address = own.address;
    address.prefix_length = own.prefix_length;
    // Whoever gives out fixed addresses knows that they are free.
    address.duplicate_check = DuplicateCheck::left_out;
    setup.addresses.push_back(address);
  }
  if (config_->gateway4) add_default_route(*config_->gateway4, link, setup);
  if (config_->gateway6) add_default_route(*config_->gateway6, link, setup);
  if (lease_) {
    auto age = std::chrono::duration_cast<seconds>(loop_.now() - lease_told_);
    add_lease(*lease_, link, lease_->is_forever() ? kForever : lease_->duration - age, setup);
  }
  // What a lease had changed.
  if (setup.mtu == 0 && applied_.mtu != 0) setup.mtu = original_mtu_;
  return setup;
}

void GuestNetwork::set_up(const Link& link) {
  InterfaceSetup wanted = wanted_setup(link);
  if (!apply_due_ && same_setup(wanted, applied_)) return;
  Status status = apply(netlink_, link, applied_, wanted);
  note(status);
  apply_due_ = !status;
  applied_ = std::move(wanted);
}

void GuestNetwork::wait_for_ipv4(NetworkState& state) {
  Duration rest = carrier_since_ + kIpv4Grace - loop_.now();
  auto is_v4 = [](const AddressOnLink& own) { return own.address.is_v4(); };
  bool is_half = state.is_ready() && config_->ipv4 == Ipv4Mode::dhcp &&
                 std::ranges::none_of(state.addresses, is_v4);
  if (!is_half || rest <= Duration::zero()) return;
  state.stage = NetworkStage::waiting_for_address;
  refresh_soon(rest);
}

void GuestNetwork::add_learnt(NetworkState& state) const {
  TimePoint now = loop_.now();
  append_new(state.dns_servers, config_->dns_servers, kMaxDnsServers);
  append_new(state.search, config_->search, kMaxSearch);
  bool search_is_set = !config_->search.empty();
  if (lease_) {
    append_new(state.dns_servers, lease_->dns_servers, kMaxDnsServers);
    state.host_name = lease_->host_name;
    if (!search_is_set) append_new(state.search, lease_->search, kMaxSearch);
    bool domain_counts = lease_->search.empty() && !lease_->domain.is_root();
    if (!search_is_set && domain_counts) append_new(state.search, {lease_->domain}, kMaxSearch);
  }
  append_new(state.dns_servers, router_dns_.servers(now), kMaxDnsServers);
  if (!search_is_set) append_new(state.search, router_dns_.search(now), kMaxSearch);
}

/// Tells how things are now, if they are other than before.
void GuestNetwork::report() {
  NetworkState state;
  if (nic_) {
    // As it is after what was just done to it.
    auto link = netlink_.link(nic_->index);
    auto addresses = netlink_.addresses();
    auto routes = netlink_.routes();
    if (!addresses || !routes) {
      note(addresses.status());
      note(routes.status());
    } else if (link) {
      // A carrier that came meanwhile is followed at the next refresh, which is due by its change.
      link->carrier = link->carrier && had_carrier_;
      state = state_of(*link, *addresses, *routes, config_->ipv6);
      wait_for_ipv4(state);
      add_learnt(state);
    }
  }
  state.problem = problem_;
  if (auto end = router_dns_.next_end(loop_.now())) refresh_soon(*end - loop_.now());
  if (state == state_) return;
  if (state.stage != state_.stage) log(LogLevel::info, "network: {}", to_string(state.stage));
  state_ = std::move(state);
  if (!on_change_) return;
  NetworkState told = state_;
  on_change_(told);
}

}  // namespace sluice::agent
