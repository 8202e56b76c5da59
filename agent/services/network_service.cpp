#include "agent/services/network_service.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "agent/rpc/message.h"
#include "agent/services/ports_call.h"
#include "agent/services/tunnel_call.h"
#include "sluice/agent/v1/network.pb.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::CallError;
using rpc::Code;
using rpc::field;
using rpc::text;

constexpr const char* kNetworkService = "sluice.agent.v1.Network";
/// Of names and addresses in one list: a message has 1 MiB at most.
constexpr std::size_t kMaxListBytes = std::size_t{768} << 10;
/// What a field costs beside its text.
constexpr std::size_t kFieldBytes = 4;

Result<Registration> registration_of(const sluice_agent_v1_Registration& message) {
  Registration registration;
  registration.owner = text(message.owner);
  registration.network = text(message.network);
  registration.kind =
      message.kind == sluice_agent_v1_OwnerKind_SANDBOX ? OwnerKind::sandbox : OwnerKind::container;
  registration.named_by = NamedBy::host;
  for (pb_size_t i = 0; i < message.names_count; ++i) {
    auto name = DomainName::parse(text(message.names[i]));
    if (!name) return name.status();
    registration.names.push_back(std::move(*name));
  }
  for (pb_size_t i = 0; i < message.addresses_count; ++i) {
    auto address = IpAddress::parse(text(message.addresses[i]));
    if (!address) return address.status();
    registration.addresses.push_back(*address);
  }
  return registration;
}

/// The text of one registration, and the fields that point to it.
struct ListedRegistration {
  explicit ListedRegistration(const Registration& from)
      : owner(rpc::valid_utf8(from.owner)), network(rpc::valid_utf8(from.network)), from(from) {
    for (const DomainName& name : from.names) texts.push_back(name.text());
    for (const IpAddress& address : from.addresses) texts.push_back(address.to_string());
    bytes = owner.size() + network.size() + 4 * kFieldBytes;
    for (const std::string& one : texts) bytes += one.size() + kFieldBytes;
  }

  sluice_agent_v1_Registration message() {
    for (const std::string& one : texts) fields.push_back(field(one));
    sluice_agent_v1_Registration message{};
    message.owner = field(owner);
    message.network = field(network);
    message.kind = from.kind == OwnerKind::sandbox ? sluice_agent_v1_OwnerKind_SANDBOX
                                                   : sluice_agent_v1_OwnerKind_CONTAINER;
    message.names_count = static_cast<pb_size_t>(from.names.size());
    message.names = fields.data();
    message.addresses_count = static_cast<pb_size_t>(from.addresses.size());
    message.addresses = fields.data() + from.names.size();
    message.by_host = from.named_by == NamedBy::host;
    return message;
  }

  std::string owner;
  std::string network;
  const Registration& from;
  std::vector<std::string> texts;  ///< Names, then addresses.
  std::vector<char*> fields;
  std::size_t bytes = 0;
};

void list_names(Call& call, const NameRegistry& registry) {
  std::vector<ListedRegistration> listed;
  std::size_t bytes = 0;
  bool truncated = false;
  for (const Registration* one : registry.list()) {
    ListedRegistration next(*one);
    truncated = bytes + next.bytes > kMaxListBytes;
    if (truncated) break;
    bytes += next.bytes;
    listed.push_back(std::move(next));
  }
  std::vector<sluice_agent_v1_Registration> messages;
  for (ListedRegistration& one : listed) messages.push_back(one.message());
  sluice_agent_v1_RegistryListResponse response{};
  response.registrations_count = static_cast<pb_size_t>(messages.size());
  response.registrations = messages.data();
  response.truncated = truncated;
  call.reply_with(response);
}

void describe_dns(Call& call, const GuestDns& dns) {
  std::vector<std::string> texts;
  texts.reserve(3 * dns.listeners().size() + DnsForwarder::kMaxServers + 1);
  auto keep = [&texts](const std::string& text) {
    texts.push_back(rpc::valid_utf8(text));
    return field(texts.back());
  };
  std::vector<sluice_agent_v1_DnsListenAddress> listening;
  for (const auto& one : dns.listeners()) {
    listening.push_back({.address = keep(one->at().to_string()),
                         .network = keep(one->network()),
                         .serving = one->serving(),
                         .problem = keep(one->problem())});
  }
  std::vector<char*> upstreams;
  for (const Endpoint& one : dns.forwarder().servers()) upstreams.push_back(keep(one.to_string()));
  std::vector<sluice_agent_v1_Counter> counters;
  for (const NamedCounter& one : named_dns_counters()) {
    counters.push_back({.name = const_cast<char*>(one.name), .value = dns.counters().*(one.value)});
  }
  sluice_agent_v1_DnsResponse response{};
  response.suffix = keep(dns.registry().suffix().text());
  response.listening_count = static_cast<pb_size_t>(listening.size());
  response.listening = listening.data();
  response.upstreams_count = static_cast<pb_size_t>(upstreams.size());
  response.upstreams = upstreams.data();
  response.counters_count = static_cast<pb_size_t>(counters.size());
  response.counters = counters.data();
  response.registrations = static_cast<std::uint32_t>(dns.registry().size());
  response.names = static_cast<std::uint32_t>(dns.registry().names());
  response.pending = static_cast<std::uint32_t>(dns.forwarder().waiting());
  response.sessions = static_cast<std::uint32_t>(dns.sessions());
  call.reply_with(response);
}

}  // namespace

const std::vector<NamedCounter>& named_dns_counters() {
  static const std::vector<NamedCounter> counters{
      {"udp_queries", &DnsCounters::udp_queries},
      {"tcp_queries", &DnsCounters::tcp_queries},
      {"local_answers", &DnsCounters::local_answers},
      {"local_negative", &DnsCounters::local_negative},
      {"errors", &DnsCounters::errors},
      {"ignored", &DnsCounters::ignored},
      {"forwarded", &DnsCounters::forwarded},
      {"coalesced", &DnsCounters::coalesced},
      {"passed_through", &DnsCounters::passed_through},
      {"upstream_timeouts", &DnsCounters::upstream_timeouts},
      {"upstream_failures", &DnsCounters::upstream_failures},
      {"upstream_forged", &DnsCounters::upstream_forged},
      {"upstream_tcp", &DnsCounters::upstream_tcp},
      {"unanswered", &DnsCounters::unanswered},
      {"over_limit", &DnsCounters::over_limit},
      {"sessions_refused", &DnsCounters::sessions_refused},
      {"replies_lost", &DnsCounters::replies_lost},
      {"rebinds", &DnsCounters::rebinds}};
  return counters;
}

bool NetworkService::needs_dns(Call& call) const {
  if (dns_) return true;
  call.fail({.code = Code::failed_precondition,
             .message = "the guest's resolver does not run (sluice.dns=on, or --dns on)"});
  return false;
}

void NetworkService::add_to(rpc::Methods& methods) {
  methods.add_unary<sluice_agent_v1_RegistryAddRequest, sluice_agent_v1_RegistryAddResponse>(
      kNetworkService, "RegistryAdd",
      [this](Call& call, const sluice_agent_v1_RegistryAddRequest& request) {
        if (!needs_dns(call)) return;
        auto registration = registration_of(request.registration);
        Status status =
            registration ? dns_->registry().add(std::move(*registration)) : registration.status();
        if (!status) return call.fail(CallError::of(status));
        call.reply_with(sluice_agent_v1_RegistryAddResponse{});
      });
  methods.add_unary<sluice_agent_v1_RegistryRemoveRequest, sluice_agent_v1_RegistryRemoveResponse>(
      kNetworkService, "RegistryRemove",
      [this](Call& call, const sluice_agent_v1_RegistryRemoveRequest& request) {
        if (!needs_dns(call)) return;
        std::string_view owner = text(request.owner);
        if (!dns_->registry().remove(owner, text(request.network), NamedBy::host)) {
          return call.fail(
              {.code = Code::not_found,
               .message = fmt::format("the host registered no names for '{}'", owner)});
        }
        call.reply_with(sluice_agent_v1_RegistryRemoveResponse{});
      });
  methods.add_unary<sluice_agent_v1_RegistryListRequest, sluice_agent_v1_RegistryListResponse>(
      kNetworkService, "RegistryList",
      [this](Call& call, const sluice_agent_v1_RegistryListRequest&) {
        if (needs_dns(call)) list_names(call, dns_->registry());
      });
  methods.add_unary<sluice_agent_v1_DnsRequest, sluice_agent_v1_DnsResponse>(
      kNetworkService, "Dns", [this](Call& call, const sluice_agent_v1_DnsRequest&) {
        if (needs_dns(call)) describe_dns(call, *dns_);
      });
  methods.add(kNetworkService, "Ports", {.begin = [this](Call& call, ConstBytes request) {
                return PortsCall::begin(loop_, namespaces_, call, request);
              }});
  methods.add(kNetworkService, "Tunnel",
              {.begin =
                   [this](Call& call, ConstBytes first) {
                     return TunnelCall::begin(host_, dns_ ? &dns_->registry() : nullptr, call,
                                              first);
                   },
               .streams_in = true});
}

}  // namespace sluice::agent
