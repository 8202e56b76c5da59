#include "agent/dns/guest_dns.h"

#include <algorithm>

#include "agent/dns/local_answers.h"
#include "base/hash.h"
#include "dns/query.h"

namespace sluice::agent {

namespace {

using dns::CheckedQuery;
using dns::Query;
using dns::Transport;
using wire::DnsMessage;
using wire::DnsRcode;

constexpr dns::ExtendedError kUnanswered{wire::DnsExtendedError::no_reachable_authority,
                                         "no server answers"};
constexpr dns::ExtendedError kTooMany{wire::DnsExtendedError::prohibited,
                                      "too many questions wait"};

/// What is said to a client whose question nobody answered.
std::vector<std::uint8_t> failure(const std::optional<Query>& query, wire::DnsHeader header,
                                  const dns::ExtendedError& error) {
  if (query) {
    dns::Answer answer;
    answer.rcode = DnsRcode::server_failure;
    return dns::build_reply(*query, answer, std::chrono::seconds(0), error).message;
  }
  header.response = true;
  header.truncated = false;
  header.recursion_available = true;
  header.rcode = static_cast<std::uint8_t>(DnsRcode::server_failure);
  return wire::DnsWriter(header, wire::kDnsMinUdpBytes).finish();
}

/// In the place of a reply that is longer than its client takes over UDP.
std::vector<std::uint8_t> truncated(const std::optional<Query>& query, ConstBytes reply) {
  auto header = DnsMessage::parse_header(reply);
  if (!header) return {};
  header->truncated = true;
  wire::DnsWriter writer(*header, wire::kDnsMinUdpBytes);
  if (query) {
    writer.question(query->question);
    if (query->has_edns) writer.edns({.udp_bytes = wire::kDnsEdnsUdpBytes}, std::nullopt);
  }
  return std::move(writer).finish();
}

std::vector<std::uint8_t> with_id(ConstBytes reply, std::uint16_t id) {
  std::vector<std::uint8_t> copy(reply.begin(), reply.end());
  store_be16(copy.data(), id);
  return copy;
}

}  // namespace

GuestDns::GuestDns(Loop& loop, HostNet& host, DomainName suffix, std::function<void()> on_serving,
                   DnsForwarder::RandomId random)
    : registry_(std::move(suffix)),
      forwarder_(
          loop, host, counters_,
          random ? std::move(random) : [] { return static_cast<std::uint16_t>(random_u64()); }),
      sessions_(loop),
      answer_([this](ConstBytes message, const DnsAsker& asker, const DnsReply& reply) {
        answer(message, asker, reply);
      }),
      shared_{loop, host, counters_, sessions_, answer_, std::move(on_serving)} {}

void GuestDns::listen(const std::vector<Endpoint>& addresses) {
  keep_listeners("", addresses);
}

void GuestDns::set_network(const DnsNetwork& network) {
  if (network.name.empty()) return;
  auto same = [&](const DnsNetwork& one) { return one.name == network.name; };
  auto found = std::find_if(networks_.begin(), networks_.end(), same);
  if (found != networks_.end()) {
    *found = network;
  } else {
    networks_.push_back(network);
  }
  collect_prefixes();
  keep_listeners(network.name, network.addresses);
}

void GuestDns::remove_network(const std::string& name) {
  if (name.empty()) return;
  networks_.erase(std::remove_if(networks_.begin(), networks_.end(),
                                 [&](const DnsNetwork& one) { return one.name == name; }),
                  networks_.end());
  collect_prefixes();
  keep_listeners(name, {});
}

void GuestDns::collect_prefixes() {
  own_prefixes_.clear();
  for (const DnsNetwork& network : networks_) {
    own_prefixes_.insert(own_prefixes_.end(), network.prefixes.begin(), network.prefixes.end());
  }
}

void GuestDns::keep_listeners(const std::string& network, const std::vector<Endpoint>& addresses) {
  auto wanted = [&](const Endpoint& at) {
    return std::find(addresses.begin(), addresses.end(), at) != addresses.end();
  };
  auto goes = [&](const std::unique_ptr<DnsListener>& one) {
    return one->network() == network && !wanted(one->at());
  };
  listeners_.erase(std::remove_if(listeners_.begin(), listeners_.end(), goes), listeners_.end());
  for (const Endpoint& at : addresses) {
    auto is_there = [&](const std::unique_ptr<DnsListener>& one) {
      return one->network() == network && one->at() == at;
    };
    if (std::any_of(listeners_.begin(), listeners_.end(), is_there)) continue;
    if (listeners_.size() == kMaxListeners) break;
    listeners_.push_back(std::make_unique<DnsListener>(shared_, at, network));
    listeners_.back()->open();
  }
}

bool GuestDns::serving() const {
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [](const std::unique_ptr<DnsListener>& one) {
                       return one->network().empty() && one->serving();
                     });
}

NameView GuestDns::view_of(const DnsAsker& asker) const {
  NameView view;
  // The VM asks itself: at this very address, or from an address of its own in some network.
  auto is_vm = [&](const DnsNetwork& network) {
    return std::any_of(network.addresses.begin(), network.addresses.end(),
                       [&](const Endpoint& at) { return at.address == asker.address; });
  };
  if (asker.address == asker.server || std::any_of(networks_.begin(), networks_.end(), is_vm)) {
    return view;
  }
  view.networks = registry_.networks_of(asker.address);
  if (view.networks.empty()) {
    for (const DnsNetwork& network : networks_) {
      bool in_it =
          std::any_of(network.prefixes.begin(), network.prefixes.end(),
                      [&](const IpPrefix& prefix) { return prefix.contains(asker.address); });
      if (in_it) view.networks.push_back(network.name);
    }
  }
  if (view.networks.empty() && !asker.network.empty()) view.networks.push_back(asker.network);
  view.all = view.networks.empty();
  return view;
}

void GuestDns::answer(ConstBytes message, const DnsAsker& asker, const DnsReply& reply) {
  if (asker.transport == Transport::tcp) ++counters_.tcp_queries;
  CheckedQuery checked = dns::check_query(message, asker.transport, wire::kDnsMaxMessageBytes);
  if (!checked.query && checked.error_reply.empty()) {
    ++counters_.ignored;
    return reply({});
  }
  auto question = checked.query ? checked.query->question : readable_question(message);
  std::optional<dns::Answer> local;
  if (question) {
    local = answer_locally(registry_, own_prefixes_, *question, view_of(asker));
  }
  if (!checked.query && (local || DnsMessage::parse(message))) {
    ++counters_.errors;
    return reply(std::move(checked.error_reply));
  }
  if (local) {
    ++counters_.local_answers;
    if (local->records.empty()) ++counters_.local_negative;
    return reply(
        dns::build_reply(*checked.query, *local, std::chrono::seconds(0), std::nullopt).message);
  }

  if (!checked.query) ++counters_.passed_through;
  std::size_t limit = asker.transport == Transport::tcp ? wire::kDnsMaxMessageBytes
                      : checked.query                   ? checked.query->reply_limit_bytes
                                                        : wire::kDnsMinUdpBytes;
  auto header = DnsMessage::parse_header(message);
  if (!header) return;
  bool asked =
      forwarder_.ask(message, asker.transport, asker.address,
                     [query = checked.query, header = *header, reply, limit](ConstBytes answer) {
                       if (answer.empty()) return reply(failure(query, header, kUnanswered));
                       if (answer.size() <= limit) return reply(with_id(answer, header.id));
                       reply(with_id(truncated(query, answer), header.id));
                     });
  if (!asked) reply(failure(checked.query, *header, kTooMany));
}

}  // namespace sluice::agent
