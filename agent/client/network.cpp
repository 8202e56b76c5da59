#include "agent/client/network.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/rpc/credit.h"
#include "sluice/agent/v1/agent.pb.h"
#include "sluice/agent/v1/network.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::CallError;
using rpc::field;
using rpc::strings;
using rpc::text;

constexpr std::string_view kNetwork = "sluice.agent.v1.Network";

std::string string_of(const char* field) {
  return std::string(text(field));
}

std::vector<ListeningPort> ports_of(const sluice_agent_v1_ListeningPort* ports, pb_size_t count) {
  std::vector<ListeningPort> list;
  for (pb_size_t i = 0; i < count; ++i) {
    list.push_back({.udp = ports[i].protocol == sluice_agent_v1_ListeningPort_Protocol_UDP,
                    .address = string_of(ports[i].address),
                    .port = ports[i].port,
                    .netns = string_of(ports[i].netns),
                    .uid = ports[i].uid});
  }
  return list;
}

std::string in_words(const sluice_agent_v1_NetworkChange& network) {
  auto addresses = strings(network.addresses, network.addresses_count);
  auto dns = strings(network.dns, network.dns_count);
  return fmt::format("{} {}{}{}, DNS {}{}{}", text(network.interface), text(network.stage),
                     addresses.empty() ? "" : ", ", fmt::join(addresses, " "),
                     dns.empty() ? "none" : fmt::format("{}", fmt::join(dns, " ")),
                     text(network.problem).empty() ? "" : ": ", text(network.problem));
}

std::string in_words(const sluice_agent_v1_ServiceChange& service) {
  std::string_view name = text(service.name);
  switch (service.change) {
    case sluice_agent_v1_ServiceChange_Change_STARTED:
      return fmt::format("{} (pid {}) started", name, service.pid);
    case sluice_agent_v1_ServiceChange_Change_READY:
      return fmt::format("{} (pid {}) is ready", name, service.pid);
    case sluice_agent_v1_ServiceChange_Change_ENDED:
      return fmt::format("{} (pid {}) {}", name, service.pid, text(service.problem));
    case sluice_agent_v1_ServiceChange_Change_FAILED:
      return fmt::format("{} could not be started: {}", name, text(service.problem));
    case sluice_agent_v1_ServiceChange_Change_GIVEN_UP:
      return fmt::format("{} is given up: {}", name, text(service.problem));
    case sluice_agent_v1_ServiceChange_Change_STOPPED:
      return fmt::format("{} is stopped", name);
    default:
      return std::string(name);
  }
}

GuestEvent event_of(const sluice_agent_v1_EventsResponse& response) {
  GuestEvent event{
      .realtime_ns = response.realtime_ns, .lost = response.lost, .kind = {}, .text = {}};
  switch (response.which_event) {
    case sluice_agent_v1_EventsResponse_boot_step_tag: {
      const auto& step = response.event.boot_step;
      bool failed = step.result == sluice_agent_v1_BootStep_Result_FAILED;
      event.kind = "boot";
      event.text = fmt::format("{}{}{}{}", text(step.name), failed ? " failed" : "",
                               text(step.message).empty() ? "" : ": ", text(step.message));
      break;
    }
    case sluice_agent_v1_EventsResponse_network_tag:
      event.kind = "network";
      event.text = in_words(response.event.network);
      break;
    case sluice_agent_v1_EventsResponse_process_tag:
      event.kind = "process";
      event.text = fmt::format("{} (pid {}) ended with {}", text(response.event.process.id),
                               response.event.process.pid, response.event.process.code);
      break;
    case sluice_agent_v1_EventsResponse_container_tag: {
      const auto& container = response.event.container;
      auto addresses = strings(container.addresses, container.addresses_count);
      event.kind = "container";
      event.text = fmt::format("{} ({:.12}) {}{}{}", text(container.name), text(container.id),
                               text(container.change), addresses.empty() ? "" : ", ",
                               fmt::join(addresses, " "));
      break;
    }
    case sluice_agent_v1_EventsResponse_service_tag:
      event.kind = "service";
      event.text = in_words(response.event.service);
      break;
    default:
      break;
  }
  return event;
}

/// A stream of messages of the server's, without end by itself.
template <typename Response, typename Take>
void watch(Caller& caller, std::string_view service, std::string_view method,
           const std::vector<std::uint8_t>& request, Take take, OnStreamEnd on_end) {
  caller.begin(service, method, request,
               {.on_message =
                    [take = std::move(take)](ConstBytes bytes) {
                      auto response = rpc::Message<Response>::parse(bytes);
                      if (response) take(**response);
                    },
                .on_end = [on_end = std::move(on_end)](const CallError& error,
                                                       ConstBytes) { on_end(error); }});
}

}  // namespace

void dns_info(Caller& caller, OnAnswer<DnsInfo> on_answer) {
  call<sluice_agent_v1_DnsResponse>(
      caller, kNetwork, "Dns", sluice_agent_v1_DnsRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_DnsResponse& response) {
        DnsInfo info{.suffix = string_of(response.suffix),
                     .listening = {},
                     .upstreams = strings(response.upstreams, response.upstreams_count),
                     .counters = {},
                     .names = response.names,
                     .pending = response.pending,
                     .sessions = response.sessions};
        for (pb_size_t i = 0; i < response.listening_count; ++i) {
          const auto& one = response.listening[i];
          info.listening.push_back({.address = string_of(one.address),
                                    .network = string_of(one.network),
                                    .serving = one.serving,
                                    .problem = string_of(one.problem)});
        }
        for (pb_size_t i = 0; i < response.counters_count; ++i) {
          info.counters.push_back({.name = string_of(response.counters[i].name),
                                   .value = static_cast<double>(response.counters[i].value)});
        }
        return info;
      });
}

void list_names(Caller& caller, OnAnswer<std::vector<Names>> on_answer) {
  call<sluice_agent_v1_RegistryListResponse>(
      caller, kNetwork, "RegistryList", sluice_agent_v1_RegistryListRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_RegistryListResponse& response) {
        std::vector<Names> list;
        for (pb_size_t i = 0; i < response.registrations_count; ++i) {
          const auto& one = response.registrations[i];
          list.push_back({.owner = string_of(one.owner),
                          .network = string_of(one.network),
                          .sandbox = one.kind == sluice_agent_v1_OwnerKind_SANDBOX,
                          .names = strings(one.names, one.names_count),
                          .addresses = strings(one.addresses, one.addresses_count),
                          .by_host = one.by_host});
        }
        return list;
      });
}

void add_names(Caller& caller, const Names& names, OnAnswer<Nothing> on_answer) {
  std::vector<char*> name_fields = fields_of(names.names);
  std::vector<char*> address_fields = fields_of(names.addresses);
  sluice_agent_v1_RegistryAddRequest request{};
  request.has_registration = true;
  sluice_agent_v1_Registration& registration = request.registration;
  registration.owner = field(names.owner);
  registration.network = field(names.network);
  registration.kind =
      names.sandbox ? sluice_agent_v1_OwnerKind_SANDBOX : sluice_agent_v1_OwnerKind_CONTAINER;
  registration.names_count = static_cast<pb_size_t>(name_fields.size());
  registration.names = name_fields.data();
  registration.addresses_count = static_cast<pb_size_t>(address_fields.size());
  registration.addresses = address_fields.data();
  call<sluice_agent_v1_RegistryAddResponse>(
      caller, kNetwork, "RegistryAdd", request, std::move(on_answer),
      [](const sluice_agent_v1_RegistryAddResponse&) { return Nothing{}; });
}

void remove_names(Caller& caller, const std::string& owner, const std::string& network,
                  OnAnswer<Nothing> on_answer) {
  sluice_agent_v1_RegistryRemoveRequest request{};
  request.owner = field(owner);
  request.network = field(network);
  call<sluice_agent_v1_RegistryRemoveResponse>(
      caller, kNetwork, "RegistryRemove", request, std::move(on_answer),
      [](const sluice_agent_v1_RegistryRemoveResponse&) { return Nothing{}; });
}

void metrics(Caller& caller, OnAnswer<std::vector<NamedValue>> on_answer) {
  call<sluice_agent_v1_MetricsResponse>(
      caller, kAgentService, "Metrics", sluice_agent_v1_MetricsRequest{}, std::move(on_answer),
      [](const sluice_agent_v1_MetricsResponse& response) {
        std::vector<NamedValue> list;
        for (pb_size_t i = 0; i < response.metrics_count; ++i) {
          const auto& one = response.metrics[i];
          list.push_back({.name = string_of(one.name), .value = one.value, .counter = one.counter});
        }
        return list;
      });
}

void watch_ports(Caller& caller, const std::vector<std::string>& namespaces,
                 std::function<void(const PortNews&)> on_news, OnStreamEnd on_end) {
  std::vector<char*> fields = fields_of(namespaces);
  sluice_agent_v1_PortsRequest request{};
  request.namespaces_count = static_cast<pb_size_t>(fields.size());
  request.namespaces = fields.data();
  watch<sluice_agent_v1_PortsResponse>(
      caller, kNetwork, "Ports", rpc::encode(request),
      [on_news = std::move(on_news)](const sluice_agent_v1_PortsResponse& response) {
        on_news({.added = ports_of(response.added, response.added_count),
                 .removed = ports_of(response.removed, response.removed_count),
                 .present = response.present});
      },
      std::move(on_end));
}

void watch_events(Caller& caller, std::function<void(const GuestEvent&)> on_event,
                  OnStreamEnd on_end) {
  watch<sluice_agent_v1_EventsResponse>(
      caller, kAgentService, "Events", rpc::encode(sluice_agent_v1_EventsRequest{}),
      [on_event = std::move(on_event)](const sluice_agent_v1_EventsResponse& response) {
        on_event(event_of(response));
      },
      std::move(on_end));
}

Tunnel::Tunnel(Caller& caller, const std::string& host, std::uint16_t port, Events events)
    : caller_(caller), events_(std::move(events)), credit_(rpc::kInitialCredit) {
  sluice_agent_v1_TunnelRequest request{};
  request.which_message = sluice_agent_v1_TunnelRequest_open_tag;
  sluice_agent_v1_TunnelOpen& open = request.message.open;
  if (port == 0) {
    open.which_target = sluice_agent_v1_TunnelOpen_unix_path_tag;
    open.target.unix_path = const_cast<char*>(host.c_str());
  } else {
    open.which_target = sluice_agent_v1_TunnelOpen_tcp_tag;
    open.target.tcp = {.host = field(host), .port = port};
  }
  stream_ = caller_.begin(
      kNetwork, "Tunnel", rpc::encode(request),
      {.on_message = [this](ConstBytes bytes) { on_message(bytes); },
       .on_end = [this](const CallError& error, ConstBytes) { events_.on_end(error); }},
      true);
}

void Tunnel::on_message(ConstBytes bytes) {
  auto response = rpc::Message<sluice_agent_v1_TunnelResponse>::parse(bytes);
  if (!response) return;
  const auto& message = (*response)->message;
  switch ((*response)->which_message) {
    case sluice_agent_v1_TunnelResponse_opened_tag:
      if (events_.on_opened) events_.on_opened();
      break;
    case sluice_agent_v1_TunnelResponse_data_tag:
      events_.on_data(rpc::bytes_of(message.data));
      break;
    case sluice_agent_v1_TunnelResponse_closed_tag:
      if (events_.on_closed) events_.on_closed();
      break;
    case sluice_agent_v1_TunnelResponse_grant_tag:
      credit_ += message.grant;
      if (events_.on_room) events_.on_room();
      break;
    default:
      break;
  }
}

void Tunnel::write(ConstBytes bytes) {
  credit_ -= bytes.size();
  send_bytes(caller_, stream_, sluice_agent_v1_TunnelRequest_data_tag, bytes);
}

void Tunnel::close() {
  sluice_agent_v1_TunnelRequest request{};
  request.which_message = sluice_agent_v1_TunnelRequest_closed_tag;
  request.message.closed = true;
  caller_.send(stream_, rpc::encode(request));
}

void Tunnel::consumed(std::size_t bytes) {
  std::uint32_t grant = consumed_.add(bytes);
  if (grant == 0) return;
  sluice_agent_v1_TunnelRequest request{};
  request.which_message = sluice_agent_v1_TunnelRequest_grant_tag;
  request.message.grant = grant;
  caller_.send(stream_, rpc::encode(request));
}

}  // namespace sluice::agent::client
