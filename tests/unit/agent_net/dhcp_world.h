#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/net/dhcp_client.h"
#include "support/virtual_loop.h"
#include "wire/dhcp.h"

namespace sluice::test {

using agent::DhcpClient;
using wire::DhcpBuilder;
using wire::DhcpHeader;
using wire::DhcpLease;
using wire::DhcpOption;
using wire::DhcpType;
using wire::DhcpView;
using namespace std::chrono_literals;

inline const MacAddress kClientMac({0x52, 0x54, 0, 0, 0, 9});
inline const IpAddress kServer = IpAddress::v4(10, 0, 0, 1);
inline const IpAddress kOther = IpAddress::v4(10, 0, 0, 99);
inline const IpAddress kAddress = IpAddress::v4(10, 0, 0, 2);

/// A message as the client sent it.
struct Sent {
  IpAddress source;
  std::optional<IpAddress> server;  ///< Nothing: broadcast.
  std::vector<std::uint8_t> bytes;
  TimePoint at;

  DhcpView view() const { return *DhcpView::parse(bytes); }
  DhcpType type() const { return view().type(); }
  bool has(DhcpOption option) const { return view().has(option); }
};

/// A link on which everything that is sent is kept, and answers come when the test gives them.
class ScriptedDhcpLink final : public agent::DhcpLink {
 public:
  explicit ScriptedDhcpLink(VirtualLoop& loop) : loop_(loop) {}

  void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
  Status broadcast(const IpAddress& source, ConstBytes message) override {
    return keep(source, std::nullopt, message);
  }
  Status send(const IpAddress& source, const IpAddress& server, ConstBytes message) override {
    return keep(source, server, message);
  }
  void deliver(ConstBytes message) {
    if (receiver_) receiver_(message);
  }

  std::vector<Sent> sent;
  Status result;  ///< What sending says.

 private:
  Status keep(const IpAddress& source, std::optional<IpAddress> server, ConstBytes message) {
    sent.push_back({source, server, {message.begin(), message.end()}, loop_.now()});
    return result;
  }

  VirtualLoop& loop_;
  Receiver receiver_;
};

/// What a server is to answer with.
struct Answer {
  DhcpType type = DhcpType::ack;
  IpAddress address = kAddress;
  IpAddress server = kServer;
  std::uint32_t lease_seconds = 3600;
  std::optional<std::uint32_t> transaction;  ///< The question's where there is none.
  MacAddress mac = kClientMac;
  bool rapid = false;
  std::function<void(DhcpBuilder&)> more;
};

inline std::vector<std::uint8_t> make_answer(const Sent& question, const Answer& answer) {
  DhcpBuilder builder({.transaction = answer.transaction.value_or(question.view().transaction()),
                       .your_address = answer.type == DhcpType::nak ? IpAddress() : answer.address,
                       .client_mac = answer.mac,
                       .type = answer.type});
  builder.add(DhcpOption::server_id, answer.server);
  if (answer.type != DhcpType::nak) {
    builder.add(DhcpOption::subnet_mask, wire::subnet_mask(24));
    builder.add(DhcpOption::routers, answer.server);
    builder.add32(DhcpOption::lease_seconds, answer.lease_seconds);
  }
  if (answer.rapid) builder.add(DhcpOption::rapid_commit, ConstBytes());
  if (answer.more) answer.more(builder);
  return builder.finish();
}

/// A client on a virtual clock, started, with its first DISCOVER sent.
struct DhcpWorld final : agent::DhcpClientEvents {
  explicit DhcpWorld(DomainName host_name = {})
      : client(loop, link,
               {.mac = kClientMac,
                .host_name = std::move(host_name),
                .random = [this] { return random += 0x9e3779b97f4a7c15; }},
               *this) {
    client.start();
  }

  const Sent& last() const { return link.sent.back(); }
  void answer(const Answer& answer) { link.deliver(make_answer(last(), answer)); }
  /// DISCOVER, OFFER, REQUEST, ACK.
  void get_lease(const Answer& ack = {}) {
    Answer offer = ack;
    offer.type = DhcpType::offer;
    answer(offer);
    answer(ack);
  }
  DhcpClient::State state() const { return client.state(); }

  void on_dhcp_bound(const DhcpLease& lease) override { bound.push_back(lease); }
  void on_dhcp_lost(const DhcpLease& lease) override { lost.push_back(lease); }

  VirtualLoop loop;
  ScriptedDhcpLink link{loop};
  std::uint64_t random = 1;
  std::vector<DhcpLease> bound;
  std::vector<DhcpLease> lost;
  DhcpClient client;
};

}  // namespace sluice::test
