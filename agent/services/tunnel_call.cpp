#include "agent/services/tunnel_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "agent/rpc/message.h"

namespace sluice::agent {

namespace {

using rpc::CallError;
using rpc::Code;
using rpc::text;

constexpr std::uint32_t kLastPort = 65535;

void refuse(rpc::Call& call, Code code, std::string message) {
  call.fail({.code = code, .message = std::move(message)});
}

std::vector<IpAddress> addresses_of(std::string_view host, const NameRegistry* names) {
  if (host.empty() || host == "localhost") {
    return {IpAddress::loopback(Family::v4), IpAddress::loopback(Family::v6)};
  }
  if (auto address = IpAddress::parse(host)) return {*address};
  auto name = DomainName::parse(host);
  std::vector<IpAddress> addresses;
  if (!name || !names) return addresses;
  for (Family family : {Family::v4, Family::v6}) {
    auto found = names->find(*name, family, {});
    addresses.insert(addresses.end(), found.addresses.begin(), found.addresses.end());
  }
  return addresses;
}

}  // namespace

std::unique_ptr<rpc::Handler> TunnelCall::begin(HostNet& host, const NameRegistry* names,
                                                rpc::Call& call, ConstBytes first) {
  auto request = rpc::Message<sluice_agent_v1_TunnelRequest>::parse(first);
  if (!request) {
    call.fail(CallError::of(request.status()));
    return nullptr;
  }
  if ((*request)->which_message != sluice_agent_v1_TunnelRequest_open_tag) {
    refuse(call, Code::invalid_argument, "the first message is to be `open`");
    return nullptr;
  }
  const sluice_agent_v1_TunnelOpen& open = (*request)->message.open;
  std::unique_ptr<TunnelCall> tunnel(new TunnelCall(host, call));
  bool begun = false;
  if (open.which_target == sluice_agent_v1_TunnelOpen_tcp_tag) {
    begun = tunnel->open_tcp(open.target.tcp, names);
  } else if (open.which_target == sluice_agent_v1_TunnelOpen_unix_path_tag) {
    begun = tunnel->open_unix(std::string(text(open.target.unix_path)));
  } else {
    refuse(call, Code::invalid_argument, "open: tcp or unix_path is needed");
  }
  if (begun) return tunnel;
  tunnel->over_ = true;
  return nullptr;
}

TunnelCall::~TunnelCall() {
  if (socket_ && !over_) socket_->reset_on_close();
}

bool TunnelCall::open_tcp(const sluice_agent_v1_TcpTarget& target, const NameRegistry* names) {
  if (target.port == 0 || target.port > kLastPort) {
    refuse(call_, Code::invalid_argument, fmt::format("{} is no port (1 to 65535)", target.port));
    return false;
  }
  Port port(static_cast<std::uint16_t>(target.port));
  for (const IpAddress& address : addresses_of(text(target.host), names)) {
    addresses_.push_back({address, port});
  }
  if (addresses_.empty()) {
    refuse(call_, Code::not_found,
           fmt::format("'{}' is no address, and nobody registered it", text(target.host)));
    return false;
  }
  return dial_next();
}

bool TunnelCall::open_unix(const std::string& path) {
  where_ = path;
  auto socket = host_.dial_unix(path);
  if (!socket) {
    call_.fail(CallError::of(socket.status()));
    return false;
  }
  socket_ = std::move(*socket);
  socket_->set_handler(this);
  return true;
}

bool TunnelCall::dial_next() {
  const Endpoint& to = addresses_[next_address_++];
  where_ = to.to_string();
  auto socket = host_.dial_tcp(to);
  if (!socket) {
    call_.fail(CallError::of(socket.status()));
    return false;
  }
  socket_ = std::move(*socket);
  socket_->set_handler(this);
  return true;
}

void TunnelCall::fail(int error, const std::string& step) {
  CallError answer = CallError::from_errno(error, step);
  // Of a server, not of a file or of memory of ours.
  if (answer.code == Code::internal) answer.code = Code::unavailable;
  over_ = true;
  socket_.reset();
  call_.fail(answer);
}

void TunnelCall::on_socket_ready(SocketReady) {
  if (!connected_) {
    if (int error = socket_->connect_result()) {
      if (next_address_ < addresses_.size()) {
        if (!dial_next()) over_ = true;
        return;
      }
      return fail(error, "connect to " + where_);
    }
    connected_ = true;
    sluice_agent_v1_TunnelResponse response{};
    response.which_message = sluice_agent_v1_TunnelResponse_opened_tag;
    call_.send_one(response);
  }
  pump();
}

void TunnelCall::on_message(ConstBytes bytes) {
  if (over_) return;
  auto parsed = rpc::Message<sluice_agent_v1_TunnelRequest>::parse(bytes);
  if (!parsed) {
    over_ = true;
    call_.fail(CallError::of(parsed.status()));
    return;
  }
  const sluice_agent_v1_TunnelRequest& request = **parsed;
  switch (request.which_message) {
    case sluice_agent_v1_TunnelRequest_data_tag:
      take(rpc::bytes_of(request.message.data));
      break;
    case sluice_agent_v1_TunnelRequest_closed_tag:
      if (request.message.closed) on_half_close();
      break;
    case sluice_agent_v1_TunnelRequest_grant_tag:
      credit_ = rpc::with_grant(credit_, request.message.grant);
      pump();
      break;
    case sluice_agent_v1_TunnelRequest_open_tag:
      over_ = true;
      refuse(call_, Code::invalid_argument, "a call has one `open`");
      break;
    default:
      // Of a later version.
      break;
  }
}

void TunnelCall::on_half_close() {
  input_closing_ = true;
  pump();
}

void TunnelCall::take(ConstBytes bytes) {
  if (bytes.size() > rpc::kMaxBytesPerMessage || bytes.size() > input_credit_ || input_closing_) {
    over_ = true;
    bool too_long = bytes.size() > rpc::kMaxBytesPerMessage;
    refuse(call_, too_long || input_closing_ ? Code::invalid_argument : Code::resource_exhausted,
           too_long         ? fmt::format("{} bytes at once; {} are the most", bytes.size(),
                                          rpc::kMaxBytesPerMessage)
           : input_closing_ ? "data after its end"
                            : "more data than was granted");
    return;
  }
  input_credit_ -= static_cast<std::uint32_t>(bytes.size());
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  pump();
}

void TunnelCall::pump() {
  if (!connected_ || over_) return;
  pump_in();
  if (!over_) pump_out();
  if (over_ || !input_closed_ || !output_closed_) return;
  over_ = true;
  socket_.reset();
  call_.finish();
}

void TunnelCall::pump_in() {
  std::size_t written = 0;
  while (written < pending_.size()) {
    iovec data{pending_.data() + written, pending_.size() - written};
    auto result = socket_->send({&data, 1});
    if (result.would_block()) break;
    if (!result.ok()) {
      int error = socket_->take_error();
      if (result.error != EPIPE || error != 0) {
        return fail(error != 0 ? error : result.error, "write to " + where_);
      }
      // The server reads no more; what it has said is still to come.
      input_closing_ = true;
      written = pending_.size();
      break;
    }
    written += result.bytes;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<long>(written));
  written_since_grant_ += static_cast<std::uint32_t>(written);
  if (input_closing_ && !input_closed_ && pending_.empty()) {
    input_closed_ = true;
    socket_->shutdown_send();
  }
  if (!input_closing_) grant_room();
}

void TunnelCall::grant_room() {
  bool due =
      written_since_grant_ >= rpc::kGrantStep || (pending_.empty() && written_since_grant_ > 0);
  if (!due) return;
  sluice_agent_v1_TunnelResponse response{};
  response.which_message = sluice_agent_v1_TunnelResponse_grant_tag;
  response.message.grant = written_since_grant_;
  input_credit_ += written_since_grant_;
  written_since_grant_ = 0;
  call_.send_one(response);
}

void TunnelCall::pump_out() {
  static thread_local rpc::BytesMessage message(sluice_agent_v1_TunnelResponse_data_tag,
                                                rpc::kMaxBytesPerMessage);
  while (!output_closed_ && credit_ > 0 && call_.writable()) {
    std::size_t most = std::min<std::uint64_t>(rpc::kMaxBytesPerMessage, credit_);
    iovec room{message.space().data(), most};
    auto result = socket_->receive({&room, 1});
    if (result.would_block()) return;
    if (!result.ok()) return fail(result.error, "read from " + where_);
    if (result.bytes == 0) {
      output_closed_ = true;
      sluice_agent_v1_TunnelResponse response{};
      response.which_message = sluice_agent_v1_TunnelResponse_closed_tag;
      response.message.closed = true;
      call_.send_one(response);
      return;
    }
    credit_ -= result.bytes;
    call_.send(message.of(result.bytes));
  }
}

}  // namespace sluice::agent
