#include <net/network.h>

#include <algorithm>
#include <future>
#include <thread>
#include <type_traits>

#include "base/posix_net.h"
#include "base/uv_loop.h"
#include "core/config_check.h"
#include "core/engine.h"
#include "core/inspector.h"
#include "core/policy_source.h"
#include "dns/record_set.h"
#include "dns/tls_trust.h"
#include "link/ring_port.h"

namespace sluice {

/// The loop, its thread and what lives there.
class Network::Thread {
 public:
  static Result<std::unique_ptr<Thread>> start(NetworkConfig config) {
    auto loop = UvLoop::create();
    if (!loop) return loop.status();
    std::unique_ptr<Thread> self(new Thread);  // NOLINT: private constructor
    self->loop_ = std::move(*loop);
    self->host_ = std::make_unique<PosixNet>(self->loop_->poller());
    auto engine = core::Engine::create(*self->loop_, *self->host_, std::move(config));
    if (!engine) return engine.status();
    self->engine_ = std::move(*engine);
    self->config_ = self->engine_->config();
    self->thread_ = std::thread([raw = self.get()] { raw->loop_->run(); });
    return self;
  }

  ~Thread() {
    if (thread_.joinable()) {
      loop_->stop();
      thread_.join();
    }
    engine_.reset();
    host_.reset();
  }

  /// Runs `call(engine)` on the loop's thread and returns what it returns.
  template <typename Call>
  auto on_loop(Call call) -> decltype(call(std::declval<core::Engine&>())) {
    using Out = decltype(call(std::declval<core::Engine&>()));
    std::promise<Out> promise;
    loop_->post([&] {
      if constexpr (std::is_void_v<Out>) {
        call(*engine_);
        promise.set_value();
      } else {
        promise.set_value(call(*engine_));
      }
    });
    return promise.get_future().get();
  }

  const gateway::Config& config() const { return config_; }

 private:
  Thread() = default;

  std::unique_ptr<UvLoop> loop_;
  std::unique_ptr<PosixNet> host_;
  std::unique_ptr<core::Engine> engine_;
  gateway::Config config_;
  std::thread thread_;
};

Network::Network(std::unique_ptr<Thread> thread) : thread_(std::move(thread)) {}
Network::~Network() = default;

Result<std::unique_ptr<Network>> Network::create(NetworkConfig config) {
  auto thread = Thread::start(std::move(config));
  if (!thread) return thread.status();
  return std::unique_ptr<Network>(new Network(std::move(*thread)));  // NOLINT: private constructor
}

Result<PolicyInfo> Network::check(const NetworkConfig& config) {
  auto gateway = core::make_gateway_config(config);
  if (!gateway) return gateway.status();
  auto records = dns::parse_record_set(config.dns_records, config.dns_zones);
  if (!records) return records.status();
  if (!config.dns_ca.empty()) {
    if (auto trust = dns::TlsTrust::load(config.dns_ca); !trust) return trust.status();
  }
  auto policy = core::compile_policy(config.policy, core::make_host_view(*gateway, {}), 0);
  if (!policy) return policy.status();
  return core::describe_policy(**policy);
}

Result<std::unique_ptr<RingLink>> Network::attach_ring(const RingOptions& options) {
  using Link = Result<std::unique_ptr<RingLink>>;
  return thread_->on_loop([&](core::Engine& engine) -> Link {
    RingOptions sized = options;
    if (sized.rx_frames >= link::RingPort::kMinFrames) {
      sized.rx_frames =
          std::max(sized.rx_frames, link::RingPort::least_rx_frames(engine.config().mtu));
    }
    auto pair = link::RingPort::make(engine.loop(), sized);
    if (!pair) return pair.status();
    if (Status status = engine.attach(std::move(pair->port)); !status) return status;
    return std::move(pair->link);
  });
}

Status Network::attach(PortFactory factory) {
  return thread_->on_loop([&](core::Engine& engine) -> Status {
    auto port = factory(engine.loop());
    if (!port) return port.status();
    return engine.attach(std::move(*port));
  });
}

void Network::detach() {
  thread_->on_loop([](core::Engine& engine) { engine.detach(); });
}

std::vector<std::string> Network::names_of(const IpAddress& address) {
  return thread_->on_loop(
      [&](core::Engine& engine) { return engine.names().names_of(address, engine.loop().now()); });
}

bool Network::any_name_of(const IpAddress& address,
                          const std::function<bool(const std::string&)>& predicate) {
  for (const std::string& name : names_of(address)) {
    if (predicate(name)) return true;
  }
  return false;
}

void Network::forget(const DomainName& name) {
  thread_->on_loop([&](core::Engine& engine) { engine.forget(name); });
}

Result<FlowPage> Network::flows(const FlowFilter& filter) {
  return thread_->on_loop([&](core::Engine& engine) { return engine.flows(filter); });
}

std::optional<FlowInfo> Network::flow(FlowId id) {
  return thread_->on_loop([&](core::Engine& engine) { return engine.flow(id); });
}

Result<bool> Network::reset_flow(FlowId id) {
  return thread_->on_loop([&](core::Engine& engine) { return engine.reset_flow(id); });
}

Result<std::vector<PublishedPort>> Network::publish(const PublishSpec& spec) {
  return thread_->on_loop([&](core::Engine& engine) { return engine.publisher().publish(spec); });
}

Status Network::unpublish(const PublishSpec& spec, LiveFlows live) {
  return thread_->on_loop(
      [&](core::Engine& engine) { return engine.publisher().unpublish(spec, live); });
}

std::vector<PublishedPort> Network::published() {
  return thread_->on_loop([](core::Engine& engine) { return engine.publisher().ports(); });
}

Result<int> Network::connect_to_guest(const std::optional<IpAddress>& address, Port port) {
  return thread_->on_loop([&](core::Engine& engine) -> Result<int> {
    auto fd = engine.connect_to_guest(address, port);
    if (!fd) return fd.status();
    return fd->release();
  });
}

std::vector<DnsRecord> Network::dns_records() {
  return thread_->on_loop([](core::Engine& engine) { return engine.inspector().dns_records(); });
}

Status Network::change_dns(const DnsChange& change) {
  return thread_->on_loop([&](core::Engine& engine) { return engine.change_dns(change); });
}

Status Network::set_policy(PolicyText policy, const DnsChange& dns) {
  return thread_->on_loop(
      [&](core::Engine& engine) { return engine.set_policy(std::move(policy), dns); });
}

PolicyText Network::policy_text() {
  return thread_->on_loop([](core::Engine& engine) { return engine.policy_text(); });
}

PolicyInfo Network::policy() {
  return thread_->on_loop([](core::Engine& engine) { return engine.inspector().policy(); });
}

Result<PolicyAnswer> Network::check_policy(std::string_view question) {
  return thread_->on_loop([&](core::Engine& engine) { return engine.inspector().check(question); });
}

void Network::learn(LearnMode mode) {
  thread_->on_loop([&](core::Engine& engine) { engine.gatekeeper().learn(mode); });
}

void Network::stop_learning() {
  thread_->on_loop([](core::Engine& engine) { engine.gatekeeper().stop_learning(); });
}

LearnReport Network::learned() {
  return thread_->on_loop([](core::Engine& engine) { return engine.gatekeeper().learned(); });
}

std::vector<NameBinding> Network::bindings() {
  return thread_->on_loop([](core::Engine& engine) { return engine.inspector().bindings(); });
}

DnsInfo Network::dns() {
  return thread_->on_loop([](core::Engine& engine) { return engine.inspector().dns(); });
}

IpAddress Network::gateway_address(Family family) const {
  return family == Family::v4 ? thread_->config().gateway4 : thread_->config().gateway6;
}

IpAddress Network::guest_address(Family family) const {
  return thread_->on_loop([&](core::Engine& engine) { return engine.guest_address(family); });
}

NetworkCounters Network::counters() {
  return thread_->on_loop([](core::Engine& engine) { return engine.counters(); });
}

}  // namespace sluice
