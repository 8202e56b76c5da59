// From a name in a first flight to its server: the part of TcpRelay that does resolve-and-dial.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "flow/tcp_relay.h"

namespace sluice::flow {

void TcpRelay::seek_server(TcpFlow& flow) {
  auto search = std::make_shared<ServerSearch>(*flow.inspection_->flight().unconfirmed());
  flow.make_extra().search = search;
  set_deadline(flow, ServerSearch::kLookup);
  gate_.look_up(flow.key_.guest, search->name, flow.key_.remote.address.family(),
                [this, &flow, weak = std::weak_ptr(search)](std::span<const IpAddress> addresses) {
                  // The flow is there as long as it searches.
                  if (auto under_way = weak.lock()) on_addresses(flow, addresses);
                });
}

void TcpRelay::on_addresses(TcpFlow& flow, std::span<const IpAddress> addresses) {
  if (std::ranges::find(addresses, flow.server().address) != addresses.end()) {
    confirm_server(flow);
    return;
  }
  if (addresses.empty()) {
    refuse_server(flow, std::string(ServerSearch::kUnresolved));
    return;
  }
  bool is_untouched = flow.record_.tx_bytes == 0 && flow.record_.rx_bytes == 0 && !flow.host_eof_;
  if (!is_untouched) {
    refuse_server(flow, std::string(ServerSearch::kElsewhere));
    return;
  }
  for (const IpAddress& address : addresses) {
    if (flow.search()->remotes.size() == ServerSearch::kMostDials) break;
    flow.search()->remotes.push_back({address, flow.key_.remote.port});
  }
  flow.search()->trouble = "the policy does not allow it there";
  dial_server(flow);
}

void TcpRelay::dial_server(TcpFlow& flow) {
  ServerSearch& search = *flow.search();
  if (auto former = std::exchange(search.dialled, std::nullopt)) end_dial(former->destination);
  flow.host_.reset();
  flow.host_readable_ = flow.host_writable_ = flow.host_error_ = flow.host_connected_ = false;
  while (!search.dials.empty() || !search.remotes.empty()) {
    if (search.dials.empty()) {
      Endpoint remote = search.remotes.front();
      search.remotes.erase(search.remotes.begin());
      TcpRoute route =
          gate_.route_named(flow.key_.guest, remote, search.name, flow.record_.grant.id);
      for (const Endpoint& destination : route.addresses) {
        search.dials.push_back({remote, destination, route.hold});
      }
      continue;
    }
    ServerSearch::Dial dial = std::move(search.dials.front());
    search.dials.erase(search.dials.begin());
    if (!begin_dial(dial.destination)) {
      search.trouble = kDestinationBusy;
      continue;
    }
    auto socket = host_net_.dial_tcp(dial.destination);
    if (!socket) {
      ++counters_.dial_failed;
      end_dial(dial.destination);
      search.trouble = socket.status().message();
      continue;
    }
    search.dialled = std::move(dial);
    flow.host_ = std::move(*socket);
    flow.host_->set_handler(&flow);
    set_deadline(flow, ServerSearch::kDial);
    return;
  }
  refuse_server(flow, fmt::format("no address that the gateway's own lookup of it gave can be "
                                  "reached: {}",
                                  search.trouble));
}

void TcpRelay::on_server_ready(TcpFlow& flow) {
  ServerSearch& search = *flow.search();
  if (!search.dialled || (!flow.host_readable_ && !flow.host_writable_)) return;
  // Readable stays, as in service().
  flow.host_writable_ = false;
  int error = flow.host_->connect_result();
  if (error == EINPROGRESS || error == EALREADY) return;
  if (error != 0) {
    ++(error == ECONNREFUSED ? counters_.dial_refused : counters_.dial_unreachable);
    search.trouble = Status::from_errno(error, "connect").message();
    dial_server(flow);
    return;
  }
  flow.host_connected_ = flow.host_writable_ = true;
  TcpFlow::Extra& extra = flow.make_extra();
  extra.moved_to = search.dialled->remote;
  extra.moved_hold = search.dialled->hold;
  log(LogLevel::debug, "tcp {} -> {}: {} is at {} now", flow.key_.guest.to_string(),
      flow.key_.remote.to_string(), search.name.text(), flow.server().to_string());
  confirm_server(flow);
}

void TcpRelay::on_search_late(TcpFlow& flow) {
  if (!flow.search()->dialled) {
    refuse_server(flow, "the gateway's own lookup of it took too long");
    return;
  }
  ++counters_.dial_timed_out;
  flow.search()->trouble = "connect: no answer in time";
  dial_server(flow);
}

void TcpRelay::confirm_server(TcpFlow& flow) {
  end_search(flow);
  flow.inspection_->flight().confirm();
  finish_inspection(flow);
  work_.add(flow);
}

void TcpRelay::refuse_server(TcpFlow& flow, std::string reason) {
  end_search(flow);
  flow.inspection_->flight().refuse(std::move(reason), ServerSearch::kDecider);
  finish_inspection(flow);
  work_.add(flow);
}

void TcpRelay::end_search(TcpFlow& flow) {
  if (!flow.search()) return;
  clear_deadline(flow);
  if (flow.search()->dialled) end_dial(flow.search()->dialled->destination);
  flow.make_extra().search.reset();
}

}  // namespace sluice::flow
