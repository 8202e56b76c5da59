// A serial line is played by a socket pair. Who opens it again is played by another pair, put in
// the place of the first.
#include "agent/rpc/serial_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "agent_rpc/rpc_world.h"

namespace sluice::agent::rpc {

using namespace std::chrono_literals;

namespace {

constexpr SerialNonce kNonce{1, 2, 3, 4, 5, 6, 7, 8};

class Line {
 public:
  Line() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    port_ = ends[0];
    host_.reset(ends[1]);
    methods_.add("test.Echo", "Say",
                 {.begin = [](Call& call, ConstBytes request) -> std::unique_ptr<Handler> {
                   call.reply(request);
                   return nullptr;
                 }});
    methods_.add("test.Echo", "Talk",
                 {.begin = [this](Call& call, ConstBytes) -> std::unique_ptr<Handler> {
                    return std::make_unique<Stream>(streams, call);
                  },
                  .streams_in = true});
    auto link = std::make_unique<SerialLink>(loop, UniqueFd(port_));
    SerialLink& serial = *link;
    connection_ =
        std::make_unique<Connection>(loop, methods_, std::move(link), [this] { ++ends_seen; });
    serial.set_reset_handler([this] {
      ++resets;
      connection_->reset();
    });
    CHECK(received().empty());
    announced = std::exchange(nonces, {});
  }

  void send_raw(std::string_view text) {
    while (!text.empty()) {
      ssize_t sent = ::write(host_.get(), text.data(), text.size());
      if (sent < 0) {
        REQUIRE(errno == EAGAIN);
        REQUIRE(settle() > 0);
        continue;
      }
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    settle();
  }
  void send(std::string_view text) {
    std::vector<std::uint8_t> line;
    serial_escape(line, bytes(text));
    send_raw(text_of(line));
  }
  void begin(const SerialNonce& nonce = kNonce) {
    std::vector<std::uint8_t> line;
    serial_reset(line, nonce);
    send_raw(text_of(line));
  }
  void say(std::uint32_t stream, std::string_view payload) {
    send(frame(stream, kRequest, 0, request_bytes("test.Echo", "Say", payload)));
  }

  int settle() {
    int turns = 0;
    while (turns < 10'000 && (loop.deferred_tasks() > 0 || loop.poll_watches() > 0)) {
      loop.run_ready();
      ++turns;
    }
    return turns;
  }

  void hang_up() {
    host_.reset();
    loop.poll_watches();
  }
  void come_back() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    REQUIRE(::dup2(ends[0], port_) == port_);
    ::close(ends[0]);
    host_.reset(ends[1]);
    loop.advance(25ms);
    settle();
  }

  /// What the host gets, decoded; what came before the last reset is dropped.
  std::string received() {
    std::string all;
    char piece[65536];
    for (ssize_t got; (got = ::read(host_.get(), piece, sizeof piece)) > 0; settle()) {
      ConstBytes rest(reinterpret_cast<const std::uint8_t*>(piece), static_cast<std::size_t>(got));
      while (!rest.empty()) {
        std::vector<std::uint8_t> out(rest.size());
        auto step = decoder_.decode(rest, out.data());
        all += text_of(ConstBytes(out).first(step.made));
        rest = rest.subspan(step.taken);
        if (!step.reset) continue;
        all.clear();
        nonces.push_back(decoder_.nonce());
      }
    }
    return all;
  }

  std::string expected(std::uint32_t stream, std::string_view payload) {
    return frame(stream, kResponse, 0, pb_text(2, payload));
  }

  test::VirtualLoop loop;
  std::vector<Stream*> streams;
  std::vector<SerialNonce> nonces;     ///< Of the resets that the host has seen since the start.
  std::vector<SerialNonce> announced;  ///< At the start.
  int resets = 0;
  int ends_seen = 0;

 private:
  Methods methods_;
  int port_ = -1;
  UniqueFd host_;
  SerialDecoder decoder_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace

TEST_CASE("whoever has the port open when the agent starts learns that all is new") {
  CHECK(Line().announced == std::vector<SerialNonce>{SerialNonce{}});
}

TEST_CASE("a client that begins gets its nonce back before anything else") {
  Line line;
  line.begin();
  line.say(1, "hello\xFF");
  CHECK(line.received() == line.expected(1, "hello\xFF"));
  CHECK(line.nonces == std::vector<SerialNonce>{kNonce});
}

TEST_CASE("a reset ends the calls of the client before, and numbers begin again") {
  Line line;
  line.begin();
  line.send(frame(7, kRequest, kRemoteOpen, request_bytes("test.Echo", "Talk", "x")));
  CHECK(line.streams.size() == 1);
  SerialNonce second{8, 8, 8, 8, 8, 8, 8, 8};
  line.begin(second);
  CHECK(line.streams.empty());
  line.say(1, "anew");
  CHECK(line.received() == line.expected(1, "anew"));
  CHECK(line.nonces.back() == second);
}

TEST_CASE("a reset and a request in one piece are both seen") {
  Line line;
  std::vector<std::uint8_t> all;
  serial_reset(all, kNonce);
  std::string request = frame(1, kRequest, 0, request_bytes("test.Echo", "Say", "at once"));
  serial_escape(all, bytes(request));
  line.send_raw(text_of(all));
  CHECK(line.received() == line.expected(1, "at once"));
  CHECK(line.nonces.size() == 1);
}

TEST_CASE("what another left half-said before a reset is void, wherever it broke off") {
  std::vector<std::uint8_t> old;
  serial_reset(old, SerialNonce{9, 9, 9, 9, 9, 9, 9, 9});
  serial_escape(old,
                bytes(frame(1, kRequest, 0, request_bytes("test.Echo", "Say", "old\xFF\xFF"))));
  for (std::size_t cut = 0; cut < old.size(); ++cut) {
    Line line;
    line.send_raw(text_of(ConstBytes(old).first(cut)));
    line.begin();
    line.say(1, "new");
    REQUIRE(line.received() == line.expected(1, "new"));
    REQUIRE(line.nonces.back() == kNonce);
  }
}

TEST_CASE("the nonce is answered once for each client, in order") {
  Line line;
  SerialNonce other{2, 2, 2, 2, 2, 2, 2, 2};
  line.begin();
  line.begin(other);
  line.begin();
  CHECK(line.received().empty());
  CHECK(line.nonces == std::vector<SerialNonce>{kNonce, other, kNonce});
}

TEST_CASE("when nobody has the port open, calls end, and who comes later is served") {
  Line line;
  line.begin();
  line.send(frame(1, kRequest, kRemoteOpen, request_bytes("test.Echo", "Talk", "x")));
  CHECK(line.streams.size() == 1);
  line.hang_up();
  CHECK(line.streams.empty());
  CHECK(line.ends_seen == 0);
  // It is looked at now and then, and does not spin.
  CHECK(line.loop.poll_watches() == 0);
  line.loop.advance(10s);
  line.come_back();
  line.begin();
  line.say(1, "again");
  CHECK(line.received() == line.expected(1, "again"));
}

TEST_CASE("a client gone in the midst of an escape or a nonce leaves the next whole") {
  for (const char* left : {"\xFF", "\xFF\x01", "\xFF\x01\x05\x05", "\xFF\xFF"}) {
    Line line;
    line.begin();
    line.send_raw(left);
    line.hang_up();
    line.come_back();
    line.begin();
    line.say(1, "whole");
    CHECK(line.received() == line.expected(1, "whole"));
    CHECK(line.nonces.back() == kNonce);
  }
}

TEST_CASE("an answer half written when a client begins anew is void for the next") {
  Line line;
  line.begin();
  std::string large(900'000, '\xFF');
  line.say(1, large);
  SerialNonce second{3, 3, 3, 3, 3, 3, 3, 3};
  line.begin(second);
  line.say(1, "small");
  CHECK(line.received() == line.expected(1, "small"));
  CHECK(line.nonces.back() == second);
}

TEST_CASE("large answers come whole over a line that is read slowly") {
  Line line;
  line.begin();
  std::string large;
  for (int i = 0; i < 500'000; ++i) large += static_cast<char>(i % 7 == 0 ? 0xFF : i);
  line.say(1, large);
  line.say(3, "after");
  CHECK(line.received() == line.expected(1, large) + line.expected(3, "after"));
}

}  // namespace sluice::agent::rpc
