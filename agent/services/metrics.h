#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/dns/guest_dns.h"
#include "agent/rpc/call.h"
#include "agent/rpc/token_gate.h"

namespace sluice::agent {

/// A number for a monitor.
struct Metric {
  std::string name;  ///< As Prometheus has them, with labels.
  double value = 0;
  bool counter = false;  ///< It only grows.
};

/// Agent.Metrics: what its sources say when it is called. One thread.
class Metrics {
 public:
  using Source = std::function<void(std::vector<Metric>&)>;

  void add_source(Source source) { sources_.push_back(std::move(source)); }
  void add_to(rpc::Methods& methods);

 private:
  std::vector<Source> sources_;
};

/// Of the agent itself and of the guest: memory, descriptors, processes, load.
void system_metrics(std::vector<Metric>& metrics);
/// Calls begun, by method.
void call_metrics(const rpc::Methods& methods, std::vector<Metric>& metrics);
/// Connections on TCP, by what came of them.
void gate_metrics(const rpc::TokenGate& gate, std::vector<Metric>& metrics);
void dns_metrics(const GuestDns& dns, std::vector<Metric>& metrics);

}  // namespace sluice::agent
