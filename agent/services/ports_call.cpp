#include "agent/services/ports_call.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "agent/rpc/message.h"
#include "sluice/agent/v1/network.pb.h"

namespace sluice::agent {

namespace {

using rpc::CallError;
using rpc::field;

/// Messages, and the strings that their fields point to.
class PortMessages {
 public:
  explicit PortMessages(const std::vector<WatchedPort>& ports) {
    for (const WatchedPort& port : ports) {
      addresses_.push_back(port.at.address.to_string());
      names_.push_back(rpc::valid_utf8(port.netns));
    }
    for (std::size_t i = 0; i < ports.size(); ++i) {
      messages_.push_back({.protocol = ports[i].protocol == Protocol::tcp
                                           ? sluice_agent_v1_ListeningPort_Protocol_TCP
                                           : sluice_agent_v1_ListeningPort_Protocol_UDP,
                           .address = field(addresses_[i]),
                           .port = ports[i].at.port.value(),
                           .netns = field(names_[i]),
                           .uid = ports[i].uid});
    }
  }
  pb_size_t size() const { return static_cast<pb_size_t>(messages_.size()); }
  sluice_agent_v1_ListeningPort* data() { return messages_.data(); }

 private:
  std::vector<std::string> addresses_;
  std::vector<std::string> names_;
  std::vector<sluice_agent_v1_ListeningPort> messages_;
};

}  // namespace

std::unique_ptr<rpc::Handler> PortsCall::begin(Loop& loop, const PortNamespaces& others,
                                               rpc::Call& call, ConstBytes bytes) {
  auto request = rpc::Message<sluice_agent_v1_PortsRequest>::parse(bytes);
  if (!request) {
    call.fail(CallError::of(request.status()));
    return nullptr;
  }
  std::vector<std::string> asked;
  for (pb_size_t i = 0; i < (*request)->namespaces_count; ++i) {
    asked.emplace_back(rpc::text((*request)->namespaces[i]));
  }
  if (asked.size() > kMaxNamespaces) {
    call.fail({.code = rpc::Code::invalid_argument,
               .message = fmt::format("namespaces: {} are the most", kMaxNamespaces)});
    return nullptr;
  }
  auto watch = PortWatch::open(others, asked);
  if (!watch) {
    call.fail(CallError::of(watch.status()));
    return nullptr;
  }
  std::unique_ptr<PortsCall> made(new PortsCall(loop, call, std::move(*watch)));
  made->look();
  return made;
}

PortsCall::PortsCall(Loop& loop, rpc::Call& call, PortWatch watch)
    : call_(call), watch_(std::move(watch)), timer_(loop.make_timer([this] { look(); })) {}

void PortsCall::on_writable() {
  if (held_up_) look();
}

void PortsCall::look() {
  held_up_ = false;
  while (call_.writable()) {
    if (send_change()) continue;
    timer_->start(kLook);
    return;
  }
  held_up_ = true;
}

/// Whether there may be more to tell at once.
bool PortsCall::send_change() {
  PortChange change = watch_.change(kMaxPortsPerMessage);
  bool more =
      change.added.size() == kMaxPortsPerMessage || change.removed.size() == kMaxPortsPerMessage;
  bool tells_present = !more && !present_told_;
  if (change.added.empty() && change.removed.empty() && !tells_present) return false;
  PortMessages added(change.added);
  PortMessages removed(change.removed);
  sluice_agent_v1_PortsResponse response{};
  response.added_count = added.size();
  response.added = added.data();
  response.removed_count = removed.size();
  response.removed = removed.data();
  response.present = tells_present;
  present_told_ |= tells_present;
  call_.send_one(response);
  return more;
}

}  // namespace sluice::agent
