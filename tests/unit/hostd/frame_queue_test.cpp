#include "hostd/attach/frame_queue.h"

#include <array>
#include <catch2/catch.hpp>

#include "hostd/port_kit.h"
#include "link/segmenter.h"

namespace sluice::test {

using hostd::FrameQueue;

namespace {

std::string next_bytes(FrameQueue& queue, std::size_t most) {
  std::array<iovec, 1024> pieces;
  std::size_t count = queue.gather(0, pieces);
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    out.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return out.substr(0, most);
}

}  // namespace

TEST_CASE("a queue gives the same bytes whatever portions leave at a time") {
  auto portion = GENERATE(1u, 3u, 4u, 5u, 17u, 1000u);
  FrameQueue queue(FrameQueue::Prefix::length);
  std::string expected;
  // 238 bytes of payload are the most that is kept with the headers.
  for (std::size_t size : {0u, 1u, 40u, 238u, 239u, 300u, 5u}) {
    CountedFrame frame(size);
    auto view = frame.view();
    view.release = nullptr;
    queue.add(view);
    expected += std::string(2, '\0');
    expected += static_cast<char>((14 + size) >> 8);
    expected += static_cast<char>(14 + size);
    expected += frame.bytes();
  }
  std::string got;
  while (!queue.empty()) {
    std::string part = next_bytes(queue, portion);
    REQUIRE_FALSE(part.empty());
    got += part;
    queue.pop_bytes(part.size());
  }
  CHECK(got == expected);
}

TEST_CASE("a payload in a thousand pieces takes no more of them than a system call allows") {
  FrameQueue queue(FrameQueue::Prefix::none);
  CountedFrame frame(2000);
  auto view = frame.view();
  std::vector<iovec> pieces;
  for (char& byte : frame.payload) pieces.push_back({&byte, 1});
  view.payload = pieces;
  queue.add(view);
  CHECK(next_bytes(queue, 5000) == frame.bytes());
  queue.pop(1);
  CHECK(frame.releases == 1);
}

TEST_CASE("a frame that can't be sent is released and leaves nothing") {
  FrameQueue queue(FrameQueue::Prefix::none);
  CountedFrame large(link::kMaxFrame), no_tcp(100);
  CHECK(queue.add(large.view()).frames == 0);
  auto view = no_tcp.view();
  view.offload = link::Offload::tcp;
  CHECK(queue.add(view).frames == 0);
  UnreadFrame unread("read", "unread");
  CHECK(queue.add(unread.view()).frames == 0);
  CHECK(large.releases == 1);
  CHECK(no_tcp.releases == 1);
  CHECK(unread.releases == 1);
  CHECK(queue.empty());
  CHECK(queue.has_much_room());
}

TEST_CASE("a release that adds to the queue disturbs neither") {
  FrameQueue queue(FrameQueue::Prefix::none);
  struct Again {
    FrameQueue& queue;
    int times = 300;
  } again{queue};
  std::string payload = "payload";
  iovec piece{payload.data(), payload.size()};
  link::RxFrame frame{.payload = {&piece, 1}, .payload_size = payload.size(), .owner = &again};
  static link::RxFrame* shared = nullptr;
  shared = &frame;
  frame.release = [](void* owner) {
    auto& self = *static_cast<Again*>(owner);
    if (--self.times > 0) self.queue.add(*shared);
  };
  queue.add(frame);
  int frames = 0;
  while (!queue.empty()) {
    REQUIRE(next_bytes(queue, 100) == payload);
    queue.pop(1);
    ++frames;
  }
  CHECK(frames == 300);
}

}  // namespace sluice::test
