#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "link/guest_port.h"
#include "support/virtual_loop.h"

namespace sluice::test {

/// What a port tells its handler. May send when told of room.
struct Recorder final : link::PortHandler {
  void on_frames(std::span<link::TxFrame> batch) override;
  void on_port_space() override;
  void on_port_link(bool up) override { links.push_back(up); }

  std::vector<std::string> frames;
  std::vector<BufferRef> held;  ///< Buffers, if `hold`.
  std::vector<bool> links;
  int spaces = 0;
  bool hold = false;
  std::size_t lent = 0;  ///< Frames of which the end was lent.
  std::function<void()> on_batch;
  std::function<void()> on_space;
};

/// A frame for the guest whose payload counts its releases.
struct CountedFrame {
  explicit CountedFrame(std::size_t payload_size, char fill = 'p');
  link::RxFrame view();
  /// What the guest should get.
  std::string bytes() const { return head + payload; }

  std::string head = "destinsource\x88\xb5";
  std::string payload;
  iovec piece{};
  int releases = 0;
};

/// A TCP segment of which the end is still in a socket.
struct UnreadFrame final : UnreadSource {
  UnreadFrame(const std::string& read, std::string unread);
  link::RxFrame view();
  bool copy(std::uint64_t position, std::span<const iovec> to) override;

  std::string head;
  std::string read, unread;
  bool is_there = true;
  int releases = 0;

 private:
  static constexpr std::uint64_t kPosition = 77;
  iovec piece_{};
};

link::RxFrame plain_frame(const std::string& bytes);

/// Polls the loop's descriptors, letting 1 ms of its time pass each turn, until `done` or 10 s are
/// over.
bool run_until(VirtualLoop& loop, const std::function<bool()>& done);

/// Two connected Unix sockets that don't block.
std::pair<UniqueFd, UniqueFd> socket_pair(int type);

/// A directory that goes with it.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace sluice::test
