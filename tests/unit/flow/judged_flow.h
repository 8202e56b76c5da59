#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "flow/datagram_world.h"
#include "flow/open_flow.h"
#include "wire/quic_seal.h"

// Flows whose first flight is judged: `good.test` and `other.test` are allowed, nothing else.

namespace sluice::test {

inline Verdict judge(const DomainName& name) {
  bool good = name.text() == "good.test" || name.text() == "other.test";
  return {good ? Action::allow : Action::deny, -1, Basis::name_rule};
}

inline std::function<flow::TcpRoute(const Endpoint&)> judged(
    const policy::FirstFlightOptions& options = {}) {
  return [options](const Endpoint& remote) {
    flow::TcpRoute route;
    route.kind = flow::TcpRoute::Kind::dial;
    route.addresses = {remote};
    route.first_flight = std::make_unique<policy::FirstFlight>(options, judge);
    return route;
  };
}

inline std::function<flow::UdpRoute(const Endpoint&)> judged_datagrams(
    const policy::FirstFlightOptions& options = {}) {
  return [options](const Endpoint& to) {
    flow::UdpRoute route{flow::UdpRoute::Kind::send, to};
    route.first_flight = std::make_unique<policy::DatagramFlight>(options, judge);
    return route;
  };
}

inline std::string text(const testing::Message& bytes) {
  return {bytes.begin(), bytes.end()};
}
inline std::string tls_hello(std::string_view name) {
  return text(testing::record(22, testing::hello_message(name)));
}
inline std::string http_get(std::string_view name) {
  return "GET / HTTP/1.1\r\nHost: " + std::string(name) + "\r\n\r\n";
}
/// A QUIC datagram with an Initial of these frames.
inline std::string initial(const testing::Message& frames, std::uint64_t number) {
  testing::InitialPacket packet;
  packet.payload = frames;
  packet.payload.resize(1100);
  packet.number = number;
  return text(testing::seal(packet));
}

/// An open connection whose first flight is to be judged.
struct Judged : OpenFlow {
  explicit Judged(const policy::FirstFlightOptions& options = {}) : OpenFlow(judged(options)) {}
};

}  // namespace sluice::test
