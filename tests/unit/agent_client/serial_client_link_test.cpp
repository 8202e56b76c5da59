#include "agent/client/serial_client_link.h"

#include <array>
#include <optional>

#include "agent_client/line_kit.h"

namespace sluice::agent::client {

namespace {

/// A client's link, and the agent's end of its line.
class Scene {
 public:
  Scene() {
    link_.emplace(loop_, std::move(line.ours));
    link_->set_handler([this](FdReady ready) {
      if (ready.readable) read_all();
    });
    link_->set_interest({.readable = true});
    link_->set_interest({.readable = true, .writable = true});
    settle(loop_);
    link_->set_interest({.readable = true});
    std::string begun = line.heard();
    REQUIRE(begun.size() == 10);
    REQUIRE(begun.starts_with("\xFF\x01"));
    nonce = begun.substr(2);
  }

  void answer(std::string_view nonce_back) {
    line.say("\xFF\x01" + std::string(nonce_back));
    settle(loop_);
  }
  void say(std::string_view text) {
    line.say(text);
    settle(loop_);
  }
  void hang_up() {
    line.theirs.reset();
    settle(loop_);
  }
  IoResult write(std::string_view text) { return link_->write(bytes(text)); }

  Line line;
  std::string nonce;
  std::string got;
  bool ended = false;

 private:
  void read_all() {
    for (;;) {
      std::array<std::uint8_t, 256> into{};
      IoResult result = link_->read(into);
      if (result.would_block()) return;
      if (!result.ok() || result.bytes == 0) {
        ended = true;
        link_->set_interest({});
        return;
      }
      got += text_of({into.data(), result.bytes});
    }
  }

  test::VirtualLoop loop_;
  std::optional<SerialClientLink> link_;
};

}  // namespace

TEST_CASE("nothing of the line is heard until the agent has sent the client's own nonce back") {
  Scene scene;
  scene.say("what the one before was told");
  scene.say("\xFF\x01" + std::string(8, '\0'));
  scene.say("another's");
  scene.answer("ABCDEFGH");
  scene.say("still another's");
  CHECK(scene.got.empty());
  scene.answer(scene.nonce);
  scene.say("ours");
  CHECK(scene.got == "ours");
  CHECK_FALSE(scene.ended);
}

TEST_CASE("what follows the answer in the same read is heard") {
  Scene scene;
  scene.say("old\xFF\x01" + scene.nonce + "new\xFF" + std::string(1, '\0') + "!");
  CHECK(scene.got == "new\xFF!");
}

TEST_CASE("an agent that begins anew ends the link") {
  Scene scene;
  scene.answer(scene.nonce);
  scene.say("before\xFF\x01" + std::string(8, '\0'));
  CHECK(scene.ended);
}

TEST_CASE("the nonce never has the byte that is set apart, and no two links have the same") {
  std::string last;
  for (int i = 0; i < 200; ++i) {
    Scene scene;
    CHECK(scene.nonce.find('\xFF') == std::string::npos);
    CHECK(scene.nonce.find('\0') == std::string::npos);
    CHECK(scene.nonce != last);
    last = scene.nonce;
  }
}

TEST_CASE("what is written is escaped") {
  Scene scene;
  CHECK(scene
            .write("a\xFF"
                   "b")
            .bytes == 3);
  CHECK(scene.line.heard() == std::string("a\xFF\0b", 4));
}

TEST_CASE("a line whose other end goes is at its end") {
  Scene scene;
  scene.hang_up();
  CHECK(scene.ended);
}

}  // namespace sluice::agent::client
