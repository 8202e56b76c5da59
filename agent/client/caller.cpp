#include "agent/client/caller.h"

#include <cstring>
#include <string>
#include <vector>

#include "agent/rpc/status.h"
#include "sluice/agent/v1/error.pb.h"
#include "ttrpc.pb.h"

namespace sluice::agent::client {

namespace {

using rpc::CallError;
using rpc::Code;
using rpc::Frame;
using rpc::FrameType;

CallError error_of(const sluice_ttrpc_Status& status) {
  CallError error{.code = static_cast<Code>(status.code),
                  .message = std::string(rpc::text(status.message))};
  for (pb_size_t i = 0; i < status.details_count; ++i) {
    if (rpc::text(status.details[i].type_url) != rpc::kErrorDetailType) continue;
    auto detail =
        rpc::Message<sluice_agent_v1_ErrorDetail>::parse(rpc::bytes_of(status.details[i].value));
    if (!detail) continue;
    error.error = (*detail)->error_number;
    error.step = rpc::text((*detail)->step);
  }
  return error;
}

}  // namespace

Caller::Caller(Loop& loop, std::unique_ptr<rpc::Link> link, std::function<void()> on_gone)
    : on_gone_(std::move(on_gone)),
      stream_(loop, std::move(link),
              {.on_frame = [this](const Frame& frame) { on_frame(frame); },
               .on_room = nullptr,
               .on_end = [this] { on_end(); }}) {}

std::uint32_t Caller::begin(std::string_view service, std::string_view method, ConstBytes request,
                            Listener listener, bool streams, Duration timeout) {
  std::uint32_t stream = next_;
  next_ += 2;
  std::string service_name(service);
  std::string method_name(method);
  rpc::BytesField payload(request);
  sluice_ttrpc_Request message{};
  message.service = rpc::field(service_name);
  message.method = rpc::field(method_name);
  message.payload = payload.array();
  message.timeout_nano = timeout.count();
  calls_.emplace(stream, std::move(listener));
  stream_.send({.stream = stream,
                .type = static_cast<std::uint8_t>(FrameType::request),
                .flags = streams ? rpc::kRemoteOpen : std::uint8_t{0}},
               rpc::encode(message));
  return stream;
}

void Caller::send(std::uint32_t stream, ConstBytes message) {
  if (calls_.count(stream) == 0) return;
  stream_.send({.stream = stream, .type = static_cast<std::uint8_t>(FrameType::data)}, message);
}

void Caller::close_send(std::uint32_t stream) {
  if (calls_.count(stream) == 0) return;
  stream_.send({.stream = stream,
                .type = static_cast<std::uint8_t>(FrameType::data),
                .flags = rpc::kRemoteClosed | rpc::kNoData},
               {});
}

void Caller::on_frame(const Frame& frame) {
  std::uint32_t stream = frame.header.stream;
  if (frame.oversized) {
    end(stream, {.code = Code::resource_exhausted, .message = "an answer that is too large"}, {});
    return;
  }
  if (frame.header.type == static_cast<std::uint8_t>(FrameType::response)) {
    auto response = rpc::Message<sluice_ttrpc_Response>::parse(frame.payload);
    if (!response) {
      end(stream, CallError::of(response.status()), {});
    } else if ((*response)->has_status && (*response)->status.code != 0) {
      end(stream, error_of((*response)->status), {});
    } else {
      end(stream, {.code = Code::ok}, rpc::bytes_of((*response)->payload));
    }
    return;
  }
  if (frame.header.type != static_cast<std::uint8_t>(FrameType::data)) return;
  auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  if ((frame.header.flags & rpc::kNoData) == 0 && found->second.on_message) {
    found->second.on_message(frame.payload);
  }
  if ((frame.header.flags & rpc::kRemoteClosed) != 0) end(stream, {.code = Code::ok}, {});
}

void Caller::end(std::uint32_t stream, const CallError& error, ConstBytes message) {
  auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  Listener listener = std::move(found->second);
  calls_.erase(found);
  if (listener.on_end) listener.on_end(error, message);
}

void Caller::on_end() {
  while (!calls_.empty()) {
    end(calls_.begin()->first,
        {.code = Code::aborted, .message = "the connection to the agent has ended"}, {});
  }
  if (on_gone_) on_gone_();
}

}  // namespace sluice::agent::client
