// The part of Agent that is about containers: their services, and what the resolver, the ports and
// the events hear of them.

#include <fmt/format.h>

#include "agent/agent.h"
#include "agent/rpc/message.h"
#include "base/log.h"
#include "wire/dns.h"

namespace sluice::agent {

namespace {

/// Those of its names that are names.
std::vector<DomainName> names_of_container(const std::string& name,
                                           const std::vector<std::string>& aliases) {
  std::vector<DomainName> names;
  if (auto own = DomainName::parse(name)) names.push_back(std::move(*own));
  for (const std::string& alias : aliases) {
    if (auto one = DomainName::parse(alias)) names.push_back(std::move(*one));
  }
  return names;
}

}  // namespace

void Agent::add_container_services() {
  jobs_ = std::make_unique<JobRunner>(*loop_, *children_);
  image_service_ = std::make_unique<ImageService>(*jobs_, options_.images);
  containers_ = std::make_unique<Containers>(
      *loop_, *children_, options_.containers,
      Containers::Images{
          .find = [this](std::string_view name) { return image_service_->store().find(name); },
          .hold = [this](const ImageUser& user) { return image_service_->store().hold(user); },
          .release =
              [this](const ContainerSpec& spec) {
                image_service_->release(spec.id, spec.image_id);
              }});
  containers_->set_observer(
      {.on_started =
           [this](const auto& id, const auto& name, const auto& aliases, const auto& addresses) {
             on_container_started(id, name, aliases, addresses);
           },
       .on_exited = [this](const std::string& id) { on_container_exited(id); }},
      dns_ != nullptr);
  container_service_ = std::make_unique<ContainerService>(*loop_, *containers_, *process_service_);
  file_service_ =
      std::make_unique<FileService>(*jobs_, [this](std::string_view name) -> Result<std::string> {
        auto container = containers_->find(name);
        if (!container) {
          return Status(StatusCode::not_found, fmt::format("there is no container {}", name));
        }
        return container->visible_root();
      });
  image_service_->add_to(methods_);
  container_service_->add_to(methods_);
  file_service_->add_to(methods_);
}

void Agent::on_container_started(const std::string& id, const std::string& name,
                                 const std::vector<std::string>& aliases,
                                 const std::vector<std::string>& addresses) {
  auto container = containers_->find(id);
  if (container) {
    port_namespaces_.add(id, fmt::format("/proc/{}/ns/net", container->status().pid));
  }
  Registration registration{.owner = id, .network = Bridge::kName};
  for (const std::string& one : addresses) {
    if (auto address = AddressOnLink::parse(one)) {
      registration.addresses.push_back(address->address);
    }
  }
  registration.names = names_of_container(name, aliases);
  if (dns_ && !registration.addresses.empty() && !registration.names.empty()) {
    // Now the bridge is there to listen on.
    DnsNetwork network{.name = Bridge::kName, .prefixes = containers_->bridge().prefixes()};
    for (const IpAddress& own : containers_->bridge().addresses()) {
      network.addresses.push_back({own, wire::kDnsPort});
    }
    dns_->set_network(network);
    if (Status status = dns_->registry().add(std::move(registration)); !status) {
      log(LogLevel::error, "agent: the names of container {}: {}", name, status.message());
    }
  }
  publish_container(id, name, "started", addresses);
}

void Agent::on_container_exited(const std::string& id) {
  port_namespaces_.remove(id);
  if (dns_) dns_->registry().remove(id, Bridge::kName, NamedBy::itself);
  auto container = containers_->find(id);
  publish_container(id, container ? container->spec().name : "", "exited", {});
}

void Agent::publish_container(const std::string& id, const std::string& name, const char* change,
                              const std::vector<std::string>& addresses) {
  std::vector<char*> fields;
  for (const std::string& one : addresses) fields.push_back(const_cast<char*>(one.c_str()));
  sluice_agent_v1_EventsResponse event{};
  event.which_event = sluice_agent_v1_EventsResponse_container_tag;
  event.event.container = {.id = rpc::field(id),
                           .name = rpc::field(name),
                           .change = const_cast<char*>(change),
                           .addresses_count = static_cast<pb_size_t>(fields.size()),
                           .addresses = fields.data()};
  events_->publish(event);
}

}  // namespace sluice::agent
