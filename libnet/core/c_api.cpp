#include <net/network.h>
#include <net/sluice.h>

#include <array>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/setting.h"

using sluice::Status;
using sluice::StatusCode;

struct sluice_config {
  sluice::NetworkConfig config;
};
struct sluice_network {
  std::unique_ptr<sluice::Network> network;
};
struct sluice_ring {
  std::unique_ptr<sluice::RingLink> link;
};

namespace {

sluice_status tell(const Status& status, char* error, size_t error_size) {
  if (error && error_size > 0) std::snprintf(error, error_size, "%s", status.message().c_str());
  return static_cast<sluice_status>(status.code());
}

/// Runs `call`, a function that returns a Status; what the libraries below throw becomes one.
template <typename Call>
sluice_status guarded(char* error, size_t error_size, Call call) {
  try {
    return tell(call(), error, error_size);
  } catch (const std::bad_alloc&) {
    return tell(Status(StatusCode::exhausted, "out of memory"), error, error_size);
  } catch (const std::exception& exception) {
    return tell(Status(StatusCode::internal, exception.what()), error, error_size);
  }
}

Status missing(const char* what) {
  return Status(StatusCode::invalid_argument, std::string(what) + " is NULL");
}

/// The value of `out` whose text is `given`, where something is.
template <typename Value, std::size_t kCount>
Status choose(const char* given, const std::array<Value, kCount>& values,
              std::optional<Value>& out) {
  if (!given) return Status::ok();
  for (Value value : values) {
    if (to_string(value) == std::string_view(given)) out = value;
  }
  if (out) return Status::ok();
  return Status(StatusCode::invalid_argument,
                "'" + std::string(given) + "' is no protocol or direction of a flow");
}

sluice::Result<sluice::FlowFilter> filter_of(const sluice_flow_filter* given) {
  using sluice::Direction, sluice::Protocol;
  sluice::FlowFilter filter;
  if (!given) return filter;
  if (given->to) filter.to = given->to;
  Status status = choose(given->protocol, std::array{Protocol::tcp, Protocol::udp, Protocol::icmp},
                         filter.protocol);
  if (status) {
    status = choose(given->direction, std::array{Direction::egress, Direction::ingress},
                    filter.direction);
  }
  if (!status) return status;
  filter.after = given->after;
  if (given->limit > 0) filter.limit = given->limit;
  return filter;
}

void show(const sluice::FlowInfo& flow, sluice_flow_fn visit, void* context) {
  auto place = [&](const sluice::Endpoint& at) {
    return flow.protocol == sluice::Protocol::icmp ? at.address.to_string() : at.to_string();
  };
  std::string protocol(to_string(flow.protocol)), direction(to_string(flow.direction)),
      state(to_string(flow.state)), guest = place(flow.guest), remote = place(flow.remote);
  std::vector<const char*> names;
  for (const std::string& name : flow.names) names.push_back(name.c_str());
  sluice_flow shown{.id = flow.id,
                    .protocol = protocol.c_str(),
                    .direction = direction.c_str(),
                    .state = state.c_str(),
                    .guest = guest.c_str(),
                    .remote = remote.c_str(),
                    .server_name = flow.server_name.c_str(),
                    .rule = flow.rule.c_str(),
                    .names = names.data(),
                    .name_count = names.size(),
                    .age_ns = static_cast<std::uint64_t>(flow.age.count()),
                    .idle_ns = static_cast<std::uint64_t>(flow.idle.count()),
                    .tx_bytes = flow.tx_bytes,
                    .rx_bytes = flow.rx_bytes};
  visit(context, &shown);
}

sluice_status attach_ring(sluice_network* network, std::size_t frames, bool virtio_header,
                          sluice_ring** ring, char* error, std::size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !ring) return missing("network or ring");
    sluice::RingOptions options{.virtio_header = virtio_header};
    if (frames > 0) options.tx_frames = options.rx_frames = frames;
    auto link = network->network->attach_ring(options);
    if (!link) return link.status();
    *ring = new sluice_ring{std::move(*link)};
    return Status::ok();
  });
}

}  // namespace

extern "C" {

sluice_config* sluice_config_new(void) {
  try {
    return new sluice_config;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void sluice_config_free(sluice_config* config) {
  delete config;
}

sluice_status sluice_config_set(sluice_config* config, const char* setting, const char* value,
                                char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!config || !setting || !value) return missing("config, setting or value");
    return sluice::core::apply_setting(config->config, setting, value);
  });
}

void sluice_config_on_denied(sluice_config* config, sluice_denied_fn callback, void* context) {
  if (!config) return;
  if (!callback) {
    config->config.on_denied = nullptr;
    return;
  }
  config->config.on_denied = [callback, context](const sluice::DenialEvent& event) {
    callback(context, event.to_string().c_str());
  };
}

sluice_status sluice_network_create(const sluice_config* config, sluice_network** network,
                                    char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!config || !network) return missing("config or network");
    auto made = sluice::Network::create(config->config);
    if (!made) return made.status();
    *network = new sluice_network{std::move(*made)};
    return Status::ok();
  });
}

void sluice_network_free(sluice_network* network) {
  delete network;
}

sluice_status sluice_network_publish(sluice_network* network, const char* spec,
                                     uint16_t* bound_port, char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !spec) return missing("network or spec");
    auto parsed = sluice::parse_publish(spec);
    if (!parsed) return parsed.status();
    auto ports = network->network->publish(*parsed);
    if (!ports) return ports.status();
    if (bound_port) {
      const auto& host = ports->front().host;
      *bound_port = host ? host->port.value() : 0;
    }
    return Status::ok();
  });
}

sluice_status sluice_network_unpublish(sluice_network* network, const char* spec, int reset_flows,
                                       char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !spec) return missing("network or spec");
    auto parsed = sluice::parse_publish(spec);
    if (!parsed) return parsed.status();
    return network->network->unpublish(
        *parsed, reset_flows ? sluice::LiveFlows::reset : sluice::LiveFlows::keep);
  });
}

sluice_status sluice_network_forget(sluice_network* network, const char* name, char* error,
                                    size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !name) return missing("network or name");
    auto parsed = sluice::DomainName::parse(name);
    if (!parsed) return parsed.status();
    network->network->forget(*parsed);
    return Status::ok();
  });
}

sluice_status sluice_network_names_of(sluice_network* network, const char* address,
                                      void (*visit)(void* context, const char* name), void* context,
                                      char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !address || !visit) return missing("network, address or visit");
    auto parsed = sluice::IpAddress::parse(address);
    if (!parsed) return parsed.status();
    for (const std::string& name : network->network->names_of(*parsed)) {
      visit(context, name.c_str());
    }
    return Status::ok();
  });
}

sluice_status sluice_network_gateway(sluice_network* network, int family, char* out,
                                     size_t out_size) {
  return guarded(nullptr, 0, [&]() -> Status {
    if (!network || !out) return missing("network or out");
    if (family != 4 && family != 6) {
      return Status(StatusCode::invalid_argument, "family is neither 4 nor 6");
    }
    std::string text =
        network->network->gateway_address(static_cast<sluice::Family>(family)).to_string();
    if (text.size() >= out_size) return Status(StatusCode::invalid_argument, "out is too short");
    std::snprintf(out, out_size, "%s", text.c_str());
    return Status::ok();
  });
}

sluice_status sluice_network_flows(sluice_network* network, const sluice_flow_filter* filter,
                                   sluice_flow_fn visit, void* context, size_t* rest, char* error,
                                   size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !visit) return missing("network or visit");
    auto wanted = filter_of(filter);
    if (!wanted) return wanted.status();
    auto page = network->network->flows(*wanted);
    if (!page) return page.status();
    if (rest) *rest = page->rest;
    for (const sluice::FlowInfo& flow : page->flows) show(flow, visit, context);
    return Status::ok();
  });
}

sluice_status sluice_network_flow(sluice_network* network, uint64_t id, sluice_flow_fn visit,
                                  void* context, char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network || !visit) return missing("network or visit");
    auto flow = network->network->flow(id);
    if (!flow) {
      return Status(StatusCode::not_found, "there is no flow " + std::to_string(id) + " now");
    }
    show(*flow, visit, context);
    return Status::ok();
  });
}

sluice_status sluice_network_reset_flow(sluice_network* network, uint64_t id, int* was_open,
                                        char* error, size_t error_size) {
  return guarded(error, error_size, [&]() -> Status {
    if (!network) return missing("network");
    auto found = network->network->reset_flow(id);
    if (!found) return found.status();
    if (was_open) *was_open = *found ? 1 : 0;
    return Status::ok();
  });
}

sluice_status sluice_network_counters(sluice_network* network, sluice_counters* out) {
  return guarded(nullptr, 0, [&]() -> Status {
    if (!network || !out) return missing("network or out");
    sluice::NetworkCounters counters = network->network->counters();
    *out = {.tx_frames = counters.tx_frames,
            .tx_bytes = counters.tx_bytes,
            .rx_frames = counters.rx_frames,
            .rx_bytes = counters.rx_bytes,
            .tcp_flows = counters.tcp_flows,
            .udp_flows = counters.udp_flows,
            .icmp_flows = counters.icmp_flows,
            .tcp_opened = counters.tcp_opened,
            .tcp_retransmissions = counters.tcp_retransmissions,
            .denials = counters.denials,
            .dns_queries = counters.dns_queries,
            .memory_bytes = counters.memory_bytes};
    return Status::ok();
  });
}

sluice_status sluice_ring_attach(sluice_network* network, size_t frames, sluice_ring** ring,
                                 char* error, size_t error_size) {
  return attach_ring(network, frames, false, ring, error, error_size);
}

sluice_status sluice_ring_attach_virtio(sluice_network* network, size_t frames, sluice_ring** ring,
                                        char* error, size_t error_size) {
  return attach_ring(network, frames, true, ring, error, error_size);
}

void sluice_ring_free(sluice_ring* ring) {
  delete ring;
}

sluice_status sluice_ring_send(sluice_ring* ring, const struct iovec* pieces, size_t count) {
  if (!ring || !pieces || count == 0) return SLUICE_INVALID_ARGUMENT;
  return static_cast<sluice_status>(ring->link->send({pieces, count}));
}

void sluice_ring_flush(sluice_ring* ring) {
  if (ring) ring->link->flush();
}

int sluice_ring_space_fd(const sluice_ring* ring) {
  return ring ? ring->link->space_fd() : -1;
}

void sluice_ring_clear_space_wake(sluice_ring* ring) {
  if (ring) ring->link->clear_space_wake();
}

const uint8_t* sluice_ring_peek(sluice_ring* ring, size_t* size) {
  auto frame = ring ? ring->link->peek() : std::span<const std::uint8_t>();
  if (size) *size = frame.size();
  return frame.empty() ? nullptr : frame.data();
}

void sluice_ring_pop(sluice_ring* ring) {
  if (ring) ring->link->pop();
}

size_t sluice_ring_peek_many(sluice_ring* ring, struct iovec* frames, size_t count) {
  if (!ring || !frames) return 0;
  std::array<std::span<const std::uint8_t>, 64> some;
  count = ring->link->peek(std::span(some).first(std::min(count, some.size())));
  for (std::size_t i = 0; i < count; ++i) {
    frames[i] = {const_cast<std::uint8_t*>(some[i].data()), some[i].size()};
  }
  return count;
}

void sluice_ring_pop_many(sluice_ring* ring, size_t count) {
  if (ring) ring->link->pop(count);
}

void sluice_ring_set_guest_offloads(sluice_ring* ring, unsigned offloads) {
  if (!ring) return;
  ring->link->set_guest_offloads({.checksum = (offloads & SLUICE_GUEST_CHECKSUM) != 0,
                                  .tcp4 = (offloads & SLUICE_GUEST_TCP4) != 0,
                                  .tcp6 = (offloads & SLUICE_GUEST_TCP6) != 0,
                                  .tcp_ecn = (offloads & SLUICE_GUEST_TCP_ECN) != 0});
}

int sluice_ring_arm_receive(sluice_ring* ring) {
  return !ring || ring->link->arm_receive() ? 1 : 0;
}

int sluice_ring_frames_fd(const sluice_ring* ring) {
  return ring ? ring->link->frames_fd() : -1;
}

void sluice_ring_clear_frames_wake(sluice_ring* ring) {
  if (ring) ring->link->clear_frames_wake();
}

int sluice_ring_closed(const sluice_ring* ring) {
  return !ring || ring->link->closed() ? 1 : 0;
}

}  // extern "C"
