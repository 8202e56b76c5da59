#include "agent/services/configure_service.h"

#include <fmt/format.h>

#include <string>

#include "agent/rpc/message.h"
#include "sluice/agent/v1/agent.pb.h"
#include "wire/dns.h"

namespace sluice::agent {

namespace {

using rpc::Call;
using rpc::CallError;
using rpc::Code;
using rpc::field;
using rpc::text;

constexpr const char* kConfiguredService = "sluice.agent.v1.Agent";
/// Of each list of a request.
constexpr pb_size_t kMaxEach = 64;

template <typename T, typename Parse>
Result<std::vector<T>> parse_list(const char* name, char* const* fields, pb_size_t count,
                                  Parse parse) {
  if (count > kMaxEach) {
    return Status(StatusCode::invalid_argument, fmt::format("{}: {} are the most", name, kMaxEach));
  }
  std::vector<T> list;
  for (pb_size_t i = 0; i < count; ++i) {
    Result<T> one = parse(text(fields[i]));
    if (!one) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("{}: {}", name, one.status().message()));
    }
    list.push_back(std::move(*one));
  }
  return list;
}

Result<Endpoint> parse_server(std::string_view words) {
  auto address = IpAddress::parse(words);
  if (address) return Endpoint{*address, wire::kDnsPort};
  return Endpoint::parse(words);
}

Result<ConfigureService::DnsOrder> dns_order(const sluice_agent_v1_ConfigureDnsRequest& request) {
  auto suffix = DomainName::parse(text(request.suffix));
  if (!suffix) return suffix.status();
  auto upstreams =
      parse_list<Endpoint>("upstreams", request.upstreams, request.upstreams_count, parse_server);
  if (!upstreams) return upstreams.status();
  auto search =
      parse_list<DomainName>("search", request.search, request.search_count, DomainName::parse);
  if (!search) return search.status();
  return ConfigureService::DnsOrder{std::move(*suffix), std::move(*upstreams), std::move(*search)};
}

Result<NetworkConfig> network_config(const sluice_agent_v1_ConfigureNetworkRequest& request) {
  NetworkConfig config;
  config.interface = text(request.interface);
  config.ipv4 = request.ipv4_off ? Ipv4Mode::off : Ipv4Mode::dhcp;
  config.ipv6 = request.ipv6_off ? Ipv6Mode::off : Ipv6Mode::adverts;
  auto addresses = parse_list<AddressOnLink>("addresses", request.addresses,
                                             request.addresses_count, AddressOnLink::parse);
  if (!addresses) return addresses.status();
  for (const AddressOnLink& one : *addresses) {
    if (one.address.is_v4()) config.ipv4 = Ipv4Mode::fixed;
    if (one.address.is_v6()) config.ipv6 = Ipv6Mode::fixed;
  }
  config.addresses = std::move(*addresses);
  auto gateways =
      parse_list<IpAddress>("gateways", request.gateways, request.gateways_count, IpAddress::parse);
  if (!gateways) return gateways.status();
  for (const IpAddress& one : *gateways) (one.is_v4() ? config.gateway4 : config.gateway6) = one;
  auto dns = parse_list<IpAddress>("dns", request.dns, request.dns_count, IpAddress::parse);
  if (!dns) return dns.status();
  config.dns_servers = std::move(*dns);
  auto search =
      parse_list<DomainName>("search", request.search, request.search_count, DomainName::parse);
  if (!search) return search.status();
  config.search = std::move(*search);
  config.mtu = request.mtu;
  config.forwarding = request.forwarding ? Forwarding::on : Forwarding::off;
  return config;
}

}  // namespace

void ConfigureService::add_to(rpc::Methods& methods) {
  methods.add_unary<sluice_agent_v1_ConfigureDnsRequest, sluice_agent_v1_ConfigureDnsResponse>(
      kConfiguredService, "ConfigureDns",
      [this](Call& call, const sluice_agent_v1_ConfigureDnsRequest& request) {
        if (!hooks_.dns) {
          return call.fail({.code = Code::failed_precondition,
                            .message = "the guest's resolver does not run (sluice.dns=on)"});
        }
        auto order = dns_order(request);
        if (!order) return call.fail(CallError::of(order.status()));
        auto state = hooks_.dns(*order);
        if (!state) return call.fail(CallError::of(state.status()));
        std::vector<std::string> upstreams;
        for (const Endpoint& one : state->upstreams) upstreams.push_back(one.to_string());
        std::vector<char*> fields;
        for (const std::string& one : upstreams) fields.push_back(field(one));
        sluice_agent_v1_ConfigureDnsResponse response{};
        response.suffix = field(state->suffix.text());
        response.upstreams_count = static_cast<pb_size_t>(fields.size());
        response.upstreams = fields.data();
        call.reply_with(response);
      });
  methods
      .add_unary<sluice_agent_v1_ConfigureNetworkRequest, sluice_agent_v1_ConfigureNetworkResponse>(
          kConfiguredService, "ConfigureNetwork",
          [this](Call& call, const sluice_agent_v1_ConfigureNetworkRequest& request) {
            if (!hooks_.network) {
              return call.fail({.code = Code::failed_precondition,
                                .message =
                                    "the agent is not this guest's init (PID 1): the network is "
                                    "somebody else's"});
            }
            auto config = network_config(request);
            if (!config) return call.fail(CallError::of(config.status()));
            Status status = check(*config);
            if (status) status = hooks_.network(*config);
            if (!status) return call.fail(CallError::of(status));
            call.reply_with(sluice_agent_v1_ConfigureNetworkResponse{});
          });
}

}  // namespace sluice::agent
