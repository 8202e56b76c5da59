#include "hostd/port_kit.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "support/tcp_frames.h"

namespace sluice::test {

void Recorder::on_frames(std::span<link::TxFrame> batch) {
  if (on_batch) on_batch();
  for (link::TxFrame& frame : batch) {
    if (frame.lent) {
      ++lent;
      frame.lent.complete(frame.bytes, frame.buffer);
    }
    frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
    if (hold) held.push_back(frame.buffer);
  }
}

void Recorder::on_port_space() {
  ++spaces;
  if (on_space) on_space();
}

CountedFrame::CountedFrame(std::size_t payload_size, char fill) : payload(payload_size, fill) {}

link::RxFrame CountedFrame::view() {
  piece = {payload.data(), payload.size()};
  return {.head = {reinterpret_cast<const std::uint8_t*>(head.data()), head.size()},
          .payload = {&piece, 1},
          .payload_size = payload.size(),
          .release = [](void* owner) { ++static_cast<CountedFrame*>(owner)->releases; },
          .owner = this};
}

UnreadFrame::UnreadFrame(const std::string& read_bytes, std::string unread_bytes)
    : read(read_bytes), unread(std::move(unread_bytes)) {
  auto frame = make_tcp_frame({});
  head.assign(frame.begin(), frame.end());
  piece_ = {read.data(), read.size()};
}

link::RxFrame UnreadFrame::view() {
  return {.head = {reinterpret_cast<const std::uint8_t*>(head.data()), head.size()},
          .payload = {&piece_, read.empty() ? 0u : 1u},
          .payload_size = read.size() + unread.size(),
          .unread = {.source = this, .position = kPosition, .size = unread.size()},
          .offload = link::Offload::tcp,
          .l4_offset = 34,
          .segment_size = 1400,
          .release = [](void* owner) { ++static_cast<UnreadFrame*>(owner)->releases; },
          .owner = this};
}

bool UnreadFrame::copy(std::uint64_t position, std::span<const iovec> to) {
  if (!is_there || position != kPosition) return false;
  std::size_t done = 0;
  for (const iovec& piece : to) {
    if (done + piece.iov_len > unread.size()) return false;
    std::memcpy(piece.iov_base, unread.data() + done, piece.iov_len);
    done += piece.iov_len;
  }
  return done == unread.size();
}

link::RxFrame plain_frame(const std::string& bytes) {
  return {.head = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}};
}

bool run_until(VirtualLoop& loop, const std::function<bool()>& done) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    loop.poll_watches();
    loop.advance(std::chrono::milliseconds(1));
  }
  return true;
}

std::pair<UniqueFd, UniqueFd> socket_pair(int type) {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TempDirectory::TempDirectory() {
  std::string name = std::filesystem::temp_directory_path() / "sluice-test-XXXXXX";
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDirectory::~TempDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace sluice::test
