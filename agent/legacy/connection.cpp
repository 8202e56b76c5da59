#include "agent/legacy/connection.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

namespace sluice::agent::legacy {

namespace {

using rpc::CallError;
using rpc::Code;

constexpr std::size_t kReadBytes = std::size_t{16} << 10;
/// Reads of one turn, so that one peer can't keep the loop for itself.
constexpr int kReadsPerTurn = 8;
/// Where a peer leaves as much unread, the call sends no more, and no other request is begun.
constexpr std::size_t kBusyBytes = std::size_t{256} << 10;

}  // namespace

/// A request that is being answered.
class Connection::ActiveCall final : public rpc::Call {
 public:
  ActiveCall(Connection& connection, Translation translation)
      : connection_(connection), translation_(std::move(translation)) {}

  void begin() {
    const rpc::MethodInfo* method =
        connection_.methods_.find(translation_.service, translation_.method);
    if (!method) {
      return fail({.code = Code::unimplemented, .message = "this agent doesn't have that"});
    }
    handler_ = method->begin(*this, translation_.message);
  }

  void reply(ConstBytes message) override {
    if (ended_) return;
    translation_.answers->on_reply(message, connection_.out_);
    end();
  }

  void fail(const CallError& error) override {
    if (ended_) return;
    append_error(connection_.out_, error_code(error.code), error.message);
    end();
  }

  void send(ConstBytes message) override {
    if (ended_) return;
    owed_ += translation_.answers->on_message(message, connection_.out_);
    connection_.run_later();
  }

  void finish() override {
    if (ended_) return;
    translation_.answers->on_finish(connection_.out_);
    end();
  }

  bool writable() const override { return connection_.has_room(); }
  void cancel(std::uint32_t) override {}

  /// What there is room for: grants first, which may end the call.
  void go_on() {
    if (ended_ || !handler_) return;
    if (owed_ > 0) handler_->on_message(translation_.answers->grant(std::exchange(owed_, 0)));
    if (!ended_) handler_->on_writable();
  }

  bool ended() const { return ended_; }

 private:
  void end() {
    ended_ = true;
    connection_.run_later();
  }

  Connection& connection_;
  Translation translation_;
  std::size_t owed_ = 0;  ///< Bytes that were sent and not granted again.
  bool ended_ = false;
  std::unique_ptr<rpc::Handler> handler_;  // Last: it may look at the rest while it goes.
};

Connection::Connection(Loop& loop, const rpc::Methods& methods, std::unique_ptr<rpc::Link> link,
                       std::function<void()> on_end)
    : loop_(loop), methods_(methods), link_(std::move(link)), on_end_(std::move(on_end)) {
  link_->set_handler([this](FdReady ready) { on_ready(ready); });
  update_interest();
}

Connection::~Connection() {
  *alive_ = false;
}

void Connection::on_ready(FdReady ready) {
  if (ready.writable) {
    flush();
    run_later();
  }
  for (int reads = 0; ready.readable && reads < kReadsPerTurn; ++reads) {
    if (ended_ || last_ || !read_some()) break;
  }
  update_interest();
}

bool Connection::read_some() {
  std::array<std::uint8_t, kReadBytes> buffer;
  IoResult result = link_->read(buffer);
  if (result.would_block()) return false;
  if (!result.ok() || result.bytes == 0) {
    end();
    return false;
  }
  reader_.append(ConstBytes(buffer).first(result.bytes));
  while (auto frame = last_ ? std::nullopt : reader_.next()) take(*frame);
  return result.bytes == buffer.size();
}

void Connection::take(const Frame& frame) {
  ahead_bytes_ += frame.payload.size();
  if (requests_.size() >= kMaxAhead || ahead_bytes_ > kMaxAheadBytes) {
    last_ = true;
    requests_.clear();
    refuse(error_code(Code::resource_exhausted), "too many requests wait for their answers");
  } else {
    requests_.push_back({frame.type, {frame.payload.begin(), frame.payload.end()}, frame.fault});
  }
  run_later();
}

void Connection::run_later() {
  if (running_later_) return;
  running_later_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    running_later_ = false;
    run();
    if (*alive) update_interest();
  });
}

/// Answers the next requests, as long as the peer reads what it gets.
void Connection::run() {
  flush();
  if (call_ && call_->ended()) call_.reset();
  if (call_ && last_) call_.reset();
  if (call_ && has_room()) call_->go_on();
  if (!call_ && !requests_.empty() && has_room() && !ended_) {
    Request request = std::move(requests_.front());
    requests_.pop_front();
    ahead_bytes_ -= request.payload.size();
    begin(request);
    run_later();
  }
  if (last_ && !call_ && requests_.empty() && out_.empty()) end();
}

void Connection::begin(const Request& request) {
  if (request.fault == Frame::Fault::cut) {
    last_ = true;
    return refuse(error_code(Code::invalid_argument), "a frame without a type");
  }
  if (request.fault == Frame::Fault::oversized) {
    return refuse(error_code(Code::invalid_argument),
                  fmt::format("a message of more than {} bytes", kMaxPayload));
  }
  auto translation = translate(request.type, request.payload);
  if (!translation) {
    return refuse(error_code(CallError::of(translation.status()).code),
                  translation.status().message());
  }
  call_ = std::make_unique<ActiveCall>(*this, std::move(*translation));
  call_->begin();
}

void Connection::refuse(std::int32_t code, std::string_view text) {
  append_error(out_, code, text);
}

bool Connection::has_room() const {
  return out_.size() - written_ < kBusyBytes;
}

void Connection::flush() {
  while (!ended_ && written_ < out_.size()) {
    IoResult result = link_->write(ConstBytes(out_).subspan(written_));
    if (result.would_block()) return;
    if (!result.ok()) return end();
    written_ += result.bytes;
    if (written_ >= kBusyBytes || written_ == out_.size()) {
      out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(written_));
      written_ = 0;
    }
  }
  if (out_.empty() && out_.capacity() > 4 * kBusyBytes) out_.shrink_to_fit();
}

void Connection::update_interest() {
  if (ended_) return;
  link_->set_interest({.readable = !last_, .writable = !out_.empty()});
}

void Connection::end() {
  if (ended_) return;
  ended_ = true;
  link_->set_interest({});
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    // It may destroy this, and what it was kept in.
    auto on_end = std::move(on_end_);
    on_end();
  });
}

}  // namespace sluice::agent::legacy
