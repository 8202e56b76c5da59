// Any bytes as a client of the older framing: frames are the same however the bytes are cut, every
// request that can be told apart has whole frames for an answer, and nothing grows without bound.
// The first byte says how the bytes are cut, and what the calls do.

#include <algorithm>
#include <cerrno>
#include <string>

#include "agent/legacy/connection.h"
#include "agent/legacy/types.h"
#include "check.h"
#include "support/virtual_loop.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

std::string read_frames(ConstBytes in, std::size_t piece) {
  legacy::FrameReader reader;
  std::string seen;
  while (!in.empty()) {
    std::size_t size = std::min(piece, in.size());
    reader.append(in.first(size));
    in = in.subspan(size);
    while (auto frame = reader.next()) {
      FUZZ_CHECK(frame->payload.size() <= legacy::kMaxPayload);
      seen +=
          std::to_string(frame->type) + '/' + std::to_string(static_cast<int>(frame->fault)) + ':';
      seen.append(frame->payload.begin(), frame->payload.end());
    }
    FUZZ_CHECK(reader.waiting() <= legacy::kMaxPayload + legacy::kHeaderBytes);
  }
  return seen;
}

struct Wire {
  ConstBytes in;
  std::size_t piece = 1;
  bool gone = false;
  std::vector<std::uint8_t> out;
  FdReady interest;
  std::function<void(FdReady)> on_ready;
};

class FuzzLink final : public rpc::Link {
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
    wire_.out.insert(wire_.out.end(), from.begin(), from.end());
    return {.bytes = from.size()};
  }
  void set_interest(FdReady interest) override { wire_.interest = interest; }
  void set_handler(std::function<void(FdReady)> on_ready) override {
    wire_.on_ready = std::move(on_ready);
  }

 private:
  Wire& wire_;
};

int live_handlers = 0;

/// Sends its request back, whatever that is as an answer, and ends at the first grant.
struct Echo final : rpc::Handler {
  explicit Echo(rpc::Call& call) : call(call) { ++live_handlers; }
  ~Echo() override { --live_handlers; }
  void on_message(ConstBytes) override { call.finish(); }
  void on_writable() override { call.finish(); }
  rpc::Call& call;
};

rpc::Methods make_methods() {
  rpc::Methods methods;
  auto reply = [](rpc::Call& call, ConstBytes request) -> std::unique_ptr<rpc::Handler> {
    call.reply(request);
    return nullptr;
  };
  auto fail = [](rpc::Call& call, ConstBytes) -> std::unique_ptr<rpc::Handler> {
    call.fail({.code = rpc::Code::not_found, .message = "no"});
    return nullptr;
  };
  auto stream = [](rpc::Call& call, ConstBytes request) -> std::unique_ptr<rpc::Handler> {
    call.send(request);
    return std::make_unique<Echo>(call);
  };
  methods.add("sluice.agent.v1.Agent", "Ping", {.begin = reply});
  methods.add("sluice.agent.v1.Agent", "SystemInfo", {.begin = reply});
  for (const char* name : {"Create", "Stop", "Remove", "List", "Kill", "Pause"}) {
    methods.add("sluice.agent.v1.Container", name, {.begin = reply});
  }
  methods.add("sluice.agent.v1.Container", "Start", {.begin = fail});
  methods.add("sluice.agent.v1.Container", "Exec", {.begin = stream, .streams_in = true});
  methods.add("sluice.agent.v1.Container", "Logs", {.begin = stream, .streams_in = true});
  methods.add("sluice.agent.v1.Process", "Exec", {.begin = stream, .streams_in = true});
  return methods;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::uint8_t plan = data[0];
  ConstBytes in(data + 1, size - 1);
  std::string whole = read_frames(in, SIZE_MAX);
  FUZZ_CHECK(read_frames(in, 1) == whole);
  FUZZ_CHECK(read_frames(in, 7) == whole);

  static const rpc::Methods methods = make_methods();
  test::VirtualLoop loop;
  Wire wire;
  wire.in = in;
  wire.piece = plan % 16 == 0 ? SIZE_MAX : plan % 16;
  int ends = 0;
  std::unique_ptr<legacy::Connection> connection;
  connection =
      std::make_unique<legacy::Connection>(loop, methods, std::make_unique<FuzzLink>(wire), [&] {
        ++ends;
        connection.reset();
      });
  auto settle = [&] {
    for (int turns = 0; turns < 100'000; ++turns) {
      loop.run_ready();
      FdReady ready{.readable = wire.interest.readable && (!wire.in.empty() || wire.gone),
                    .writable = wire.interest.writable};
      if (!wire.on_ready || (!ready.readable && !ready.writable)) return;
      wire.on_ready(ready);
    }
    FUZZ_CHECK(false);
  };
  settle();
  ConstBytes out(wire.out);
  while (!out.empty()) {
    FUZZ_CHECK(out.size() >= legacy::kHeaderBytes);
    std::size_t length = load_be32(out.data());
    FUZZ_CHECK(length >= legacy::kTypeBytes && out.size() - legacy::kTypeBytes >= length);
    out = out.subspan(legacy::kTypeBytes + length);
  }
  if (connection) {
    wire.gone = true;
    settle();
  }
  FUZZ_CHECK(ends == 1 && !connection);
  FUZZ_CHECK(live_handlers == 0);
  return 0;
}
