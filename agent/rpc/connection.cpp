#include "agent/rpc/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "agent/rpc/status.h"
#include "ttrpc.pb.h"

namespace sluice::agent::rpc {

namespace {

/// A deadline beyond it is none. Timers have no end of time to overflow into.
constexpr Duration kMostTimeout = std::chrono::hours(24 * 365);
/// Of a response, beside the message.
constexpr std::size_t kResponseBytes = 16;

CallError too_large(std::size_t bytes) {
  return {
      .code = Code::resource_exhausted,
      .message = fmt::format("a message of {} bytes; {} are the most", bytes, kMaxPayloadBytes)};
}

}  // namespace

class Connection::ActiveCall final : public Call {
 public:
  ActiveCall(Connection& connection, std::uint32_t stream, const MethodInfo& method)
      : connection_(connection), stream_(stream), method_(method) {}

  void begin(ConstBytes request) {
    begun_ = true;
    handler_ = method_.begin(*this, request);
    if (handler_ && half_closed_) handler_->on_half_close();
  }

  void set_deadline(Duration timeout) {
    deadline_ = connection_.loop_.make_timer([this] {
      fail({.code = Code::deadline_exceeded, .message = "the call's deadline has passed"});
    });
    deadline_->start(std::min(timeout, kMostTimeout));
  }

  void on_message(ConstBytes message) {
    if (ended_) return;
    if (!begun_) {
      begin(message);
    } else if (handler_) {
      handler_->on_message(message);
    }
  }

  void on_half_close() {
    if (ended_ || half_closed_) return;
    half_closed_ = true;
    if (!begun_) {
      fail(
          {.code = Code::invalid_argument, .message = "the stream ended before its first message"});
    } else if (handler_) {
      handler_->on_half_close();
    }
  }

  void on_writable() {
    if (!ended_ && handler_) handler_->on_writable();
  }

  bool takes_messages() const { return method_.streams_in && !half_closed_ && !ended_; }
  bool begun() const { return begun_; }
  bool ended() const { return ended_; }

  void reply(ConstBytes message) override {
    if (message.size() > kMaxPayloadBytes - kResponseBytes) return fail(too_large(message.size()));
    if (!end()) return;
    connection_.stream_.send(
        {.stream = stream_, .type = static_cast<std::uint8_t>(FrameType::response)},
        response_of(message));
  }

  void fail(const CallError& error) override {
    if (!end()) return;
    connection_.fail(stream_, error);
  }

  void send(ConstBytes message) override {
    if (message.size() > kMaxPayloadBytes) return fail(too_large(message.size()));
    if (ended_) return;
    connection_.stream_.send(
        {.stream = stream_, .type = static_cast<std::uint8_t>(FrameType::data)}, message);
  }

  void finish() override {
    if (!end()) return;
    connection_.stream_.send({.stream = stream_,
                              .type = static_cast<std::uint8_t>(FrameType::data),
                              .flags = kRemoteClosed | kNoData},
                             {});
  }

  bool writable() const override { return connection_.stream_.has_room(); }
  void cancel(std::uint32_t stream) override { connection_.cancel(stream); }

 private:
  bool end() {
    if (ended_) return false;
    ended_ = true;
    deadline_.reset();
    connection_.sweep_later();
    return true;
  }

  Connection& connection_;
  std::uint32_t stream_;
  const MethodInfo& method_;
  std::unique_ptr<Timer> deadline_;
  bool begun_ = false;
  bool half_closed_ = false;
  bool ended_ = false;
  std::unique_ptr<Handler> handler_;  // Last: it may look at the rest while it goes.
};

Connection::Connection(Loop& loop, const Methods& methods, std::unique_ptr<Link> link,
                       std::function<void()> on_end)
    : loop_(loop),
      methods_(methods),
      stream_(loop, std::move(link),
              {.on_frame = [this](const Frame& frame) { on_frame(frame); },
               .on_room = [this] { offer_room(); },
               .on_end = std::move(on_end)}) {}

Connection::~Connection() {
  *alive_ = false;
}

void Connection::reset() {
  calls_.clear();
  last_stream_ = 0;
  stream_.reset();
}

void Connection::on_frame(const Frame& frame) {
  const FrameHeader& header = frame.header;
  if (frame.oversized) {
    if (header.type == static_cast<std::uint8_t>(FrameType::request)) {
      last_stream_ = std::max(last_stream_, header.stream);
    }
    refuse(header.stream, too_large(header.length));
    return;
  }
  if (header.stream % 2 == 0) {
    fail(header.stream,
         {.code = Code::invalid_argument, .message = "a client's streams have odd numbers"});
    return;
  }
  if (header.type == static_cast<std::uint8_t>(FrameType::request)) {
    on_request(header, frame.payload);
  } else if (header.type == static_cast<std::uint8_t>(FrameType::data)) {
    on_data(header, frame.payload);
  }
  // Other types are of later versions of ttrpc, and to be passed over.
}

void Connection::on_request(const FrameHeader& header, ConstBytes payload) {
  if (header.stream <= last_stream_) {
    refuse(header.stream, {.code = Code::invalid_argument,
                           .message = "a stream's number is not used again, and grows"});
    return;
  }
  last_stream_ = header.stream;
  auto request = Message<sluice_ttrpc_Request>::parse(payload);
  if (!request) return fail(header.stream, CallError::of(request.status()));
  std::string_view service = text((*request)->service);
  std::string_view name = text((*request)->method);
  const MethodInfo* method = methods_.find(service, name);
  if (!method) {
    return fail(header.stream, {.code = Code::unimplemented,
                                .message = methods_.has_service(service)
                                               ? fmt::format("{} has no method {}", service, name)
                                               : fmt::format("there is no service {}", service)});
  }
  if (calls_.size() >= kMaxCalls) sweep();
  if (calls_.size() >= kMaxCalls) {
    return fail(header.stream,
                {.code = Code::resource_exhausted,
                 .message = fmt::format("{} calls are under way, the most of a connection",
                                        calls_.size())});
  }

  auto made = std::make_unique<ActiveCall>(*this, header.stream, *method);
  ActiveCall& call = *made;
  calls_.emplace(header.stream, std::move(made));
  if ((*request)->timeout_nano > 0) call.set_deadline(Duration((*request)->timeout_nano));
  ConstBytes message = bytes_of((*request)->payload);
  // A client that streams may put its first message into the request, or leave that empty.
  if (method->streams_in && message.empty() && (header.flags & kRemoteOpen) != 0) return;
  call.begin(message);
  if ((header.flags & kRemoteOpen) == 0 && method->streams_in) call.on_half_close();
}

void Connection::on_data(const FrameHeader& header, ConstBytes payload) {
  auto found = calls_.find(header.stream);
  if (found == calls_.end() || found->second->ended()) {
    // What a client said before it knew that its call had ended is no fault of its.
    if (header.stream > last_stream_) {
      fail(header.stream, {.code = Code::invalid_argument, .message = "there is no such stream"});
    }
    return;
  }
  ActiveCall& call = *found->second;
  bool has_message = (header.flags & kNoData) == 0;
  if (has_message && !call.takes_messages()) {
    call.fail({.code = Code::invalid_argument, .message = "this stream takes no more messages"});
    return;
  }
  if (has_message) call.on_message(payload);
  if ((header.flags & kRemoteClosed) != 0) call.on_half_close();
}

void Connection::cancel(std::uint32_t stream) {
  auto found = calls_.find(stream);
  if (found == calls_.end()) return;
  found->second->fail({.code = Code::cancelled, .message = "the client cancelled the call"});
}

/// The answer to a frame that can't be taken. Of a call under way it is the end: the client takes
/// it for that.
void Connection::refuse(std::uint32_t stream, const CallError& error) {
  auto found = calls_.find(stream);
  if (found == calls_.end()) {
    fail(stream, error);
  } else {
    found->second->fail(error);
  }
}

void Connection::fail(std::uint32_t stream, const CallError& error) {
  stream_.send({.stream = stream, .type = static_cast<std::uint8_t>(FrameType::response)},
               response_of(error));
}

/// In turn, so that no stream has all of it.
void Connection::offer_room() {
  auto next = calls_.upper_bound(last_served_);
  for (std::size_t left = calls_.size(); left > 0 && stream_.has_room(); --left, ++next) {
    if (next == calls_.end()) next = calls_.begin();
    last_served_ = next->first;
    next->second->on_writable();
  }
}

void Connection::sweep_later() {
  if (sweeping_) return;
  sweeping_ = true;
  loop_.defer([this, alive = alive_] {
    if (*alive) sweep();
  });
}

void Connection::sweep() {
  sweeping_ = false;
  for (auto call = calls_.begin(); call != calls_.end();) {
    call = call->second->ended() ? calls_.erase(call) : std::next(call);
  }
}

}  // namespace sluice::agent::rpc
