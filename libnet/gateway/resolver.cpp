#include "gateway/resolver.h"

#include <algorithm>
#include <vector>

#include "wire/ethernet.h"
#include "wire/ndp.h"

namespace sluice::gateway {

bool Resolver::resolve(const IpAddress& address, TimePoint now) {
  if (!book_.on_link(address) && !book_.is_routed(address)) return false;
  if (pending_.contains(address)) return true;
  if (pending_.size() >= kMaxPending) return false;
  pending_.emplace(address, Pending{1, now + kRetransmit});
  ask(address);
  return true;
}

void Resolver::on_learnt() {
  if (pending_.empty()) return;
  std::vector<std::pair<IpAddress, MacAddress>> known;
  for (const auto& [address, pending] : pending_) {
    if (auto mac = book_.mac_of(address)) known.emplace_back(address, *mac);
  }
  // The handler may ask for more.
  for (const auto& [address, mac] : known) {
    if (pending_.erase(address) > 0 && handler_) handler_(address, mac);
  }
}

void Resolver::tick(TimePoint now) {
  std::vector<IpAddress> failed;
  for (auto& [address, pending] : pending_) {
    if (now < pending.due) continue;
    if (pending.asked >= kAttempts) {
      failed.push_back(address);
      continue;
    }
    ++pending.asked;
    pending.due = now + kRetransmit;
    ask(address);
  }
  for (const IpAddress& address : failed) {
    pending_.erase(address);
    ++counters_.resolves_failed;
    if (handler_) handler_(address, std::nullopt);
  }
}

TimePoint Resolver::next_due() const {
  TimePoint due = TimePoint::max();
  for (const auto& [address, pending] : pending_) due = std::min(due, pending.due);
  return due;
}

void Resolver::ask(const IpAddress& address) {
  IpAddress target = address;
  // What lies behind the guest is reached through the guest.
  if (!book_.on_link(address))
    target = address.is_v4() ? config_.first_guest4 : config_.first_guest6;
  if (target.is_v4()) {
    writer_.arp(MacAddress::broadcast(), {.operation = wire::ArpOperation::request,
                                          .sender_mac = config_.mac,
                                          .sender_ip = config_.gateway4,
                                          .target_ip = target});
    return;
  }
  IpAddress group = wire::solicited_node(target);
  const IpAddress& source = target.is_link_local() ? book_.link_local() : config_.gateway6;
  writer_.ndp(wire::multicast_mac(group), source, group,
              wire::NeighborSolicit{target, config_.mac});
}

}  // namespace sluice::gateway
