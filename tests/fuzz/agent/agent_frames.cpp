// Any bytes as a client's connection: frames are the same however the bytes are cut, what is
// answered is whole frames to odd streams or refusals, every call ends once, and nothing grows
// without bound. The first byte says how the bytes are cut, and when the peer reads.

#include <algorithm>
#include <cerrno>
#include <string>

#include "agent/rpc/connection.h"
#include "check.h"
#include "support/virtual_loop.h"

using namespace sluice;
using namespace sluice::agent::rpc;

namespace {

struct Seen {
  std::string frames;
  bool operator==(const Seen&) const = default;
};

Seen read_frames(ConstBytes in, std::size_t piece) {
  FrameReader reader;
  Seen seen;
  while (!in.empty()) {
    Bytes space = reader.space();
    std::size_t size = std::min({space.size(), piece, in.size()});
    std::copy_n(in.begin(), size, space.begin());
    reader.filled(size);
    in = in.subspan(size);
    while (auto frame = reader.next()) {
      FUZZ_CHECK(frame->payload.size() <= kMaxPayloadBytes);
      FUZZ_CHECK(frame->oversized == (frame->header.length > kMaxPayloadBytes));
      seen.frames +=
          std::to_string(frame->header.stream) + '/' + std::to_string(frame->header.type) + '/' +
          std::to_string(frame->header.flags) + '/' + std::to_string(frame->header.length) + ':';
      seen.frames.append(frame->payload.begin(), frame->payload.end());
    }
  }
  return seen;
}

struct Wire {
  ConstBytes in;
  std::size_t piece = 1;
  bool gone = false;
  std::size_t room = SIZE_MAX;
  std::vector<std::uint8_t> out;
  FdReady interest;
  std::function<void(FdReady)> on_ready;
};

class FuzzLink final : public Link {
 public:
  explicit FuzzLink(Wire& wire) : wire_(wire) {}
  ~FuzzLink() override { wire_.on_ready = nullptr; }
  IoResult read(Bytes into) override {
    std::size_t size = std::min({into.size(), wire_.piece, wire_.in.size()});
    if (size == 0) return wire_.gone ? IoResult{} : IoResult{.error = EAGAIN};
    std::copy_n(wire_.in.begin(), size, into.begin());
    wire_.in = wire_.in.subspan(size);
    return {.bytes = size};
  }
  IoResult write(ConstBytes from) override {
    if (wire_.gone) return {.error = EPIPE};
    std::size_t size = std::min(from.size(), wire_.room);
    if (size == 0) return {.error = EAGAIN};
    wire_.room -= size;
    wire_.out.insert(wire_.out.end(), from.begin(),
                     from.begin() + static_cast<std::ptrdiff_t>(size));
    return {.bytes = size};
  }
  void set_interest(FdReady interest) override { wire_.interest = interest; }
  void set_handler(std::function<void(FdReady)> on_ready) override {
    wire_.on_ready = std::move(on_ready);
  }

 private:
  Wire& wire_;
};

int live_handlers = 0;

/// Answers each message with as many bytes as its first says, ends when that is 0.
struct Talk final : Handler {
  explicit Talk(Call& call) : call(call) { ++live_handlers; }
  ~Talk() override { --live_handlers; }
  void on_message(ConstBytes message) override {
    if (message.empty() || message[0] == 0) return call.finish();
    call.send(std::vector<std::uint8_t>(std::size_t{message[0]} << 8));
  }
  void on_half_close() override { call.send({}); }
  void on_writable() override { ++offers; }
  Call& call;
  int offers = 0;
};

Methods make_methods() {
  Methods methods;
  auto talk = [](Call& call, ConstBytes first) -> std::unique_ptr<Handler> {
    auto handler = std::make_unique<Talk>(call);
    handler->on_message(first);
    return handler;
  };
  auto say = [](Call& call, ConstBytes request) -> std::unique_ptr<Handler> {
    call.reply(request);
    return nullptr;
  };
  auto cancel = [](Call& call, ConstBytes request) -> std::unique_ptr<Handler> {
    call.cancel(request.empty() ? 1 : request[0]);
    call.reply({});
    return nullptr;
  };
  methods.add("s", "t", {.begin = talk, .streams_in = true});
  methods.add("s", "h", {.begin = talk});
  methods.add("s", "s", {.begin = say});
  methods.add("s", "c", {.begin = cancel});
  return methods;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::uint8_t plan = data[0];
  ConstBytes in(data + 1, size - 1);
  Seen whole = read_frames(in, SIZE_MAX);
  FUZZ_CHECK(read_frames(in, 1) == whole);
  FUZZ_CHECK(read_frames(in, 11) == whole);

  static const Methods methods = make_methods();
  test::VirtualLoop loop;
  Wire wire;
  wire.in = in;
  wire.piece = plan % 16 == 0 ? SIZE_MAX : plan % 16;
  bool reads_late = (plan & 0x10) != 0;
  if (reads_late) wire.room = 0;
  int ends = 0;
  std::unique_ptr<Connection> connection;
  connection = std::make_unique<Connection>(loop, methods, std::make_unique<FuzzLink>(wire), [&] {
    ++ends;
    connection.reset();
  });
  auto settle = [&] {
    for (int turns = 0; turns < 100'000; ++turns) {
      loop.run_ready();
      FdReady ready{.readable = wire.interest.readable && (!wire.in.empty() || wire.gone),
                    .writable = wire.interest.writable && (wire.room > 0 || wire.gone)};
      if (!wire.on_ready || (!ready.readable && !ready.writable)) return;
      wire.on_ready(ready);
      if ((plan & 0x20) != 0 && connection && turns == 3) connection->reset();
    }
    FUZZ_CHECK(false);
  };
  settle();
  if (reads_late) {
    wire.room = SIZE_MAX;
    settle();
  }
  FUZZ_CHECK(ends == 0 && connection && connection->calls() <= kMaxCalls);
  loop.advance(std::chrono::hours(1));
  settle();
  // All that came back is whole frames.
  ConstBytes out(wire.out);
  while ((plan & 0x20) == 0 && !out.empty()) {
    FUZZ_CHECK(out.size() >= kFrameHeaderBytes);
    std::size_t length = load_be32(out.data());
    FUZZ_CHECK(length <= kMaxPayloadBytes && out.size() - kFrameHeaderBytes >= length);
    FUZZ_CHECK(out[8] == 2 || out[8] == 3);
    out = out.subspan(kFrameHeaderBytes + length);
  }
  if ((plan & 0x40) != 0) {
    wire.gone = true;
    settle();
    FUZZ_CHECK(ends == 1 && !connection);
  }
  connection.reset();
  loop.run_ready();
  FUZZ_CHECK(live_handlers == 0);
  FUZZ_CHECK(loop.active_timers() == 0);
  return 0;
}
