#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "link/guest_port.h"

namespace sluice::test {

/// A handler that keeps copies of the guest's frames, and their references if asked to.
class PortLog final : public link::PortHandler {
 public:
  void on_frames(std::span<link::TxFrame> batch) override {
    for (auto& frame : batch) {
      frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
      if (keep_references) references.push_back(std::move(frame.buffer));
      if (on_frame) on_frame(frames.back());
    }
  }
  void on_port_space() override {
    ++spaces;
    if (on_space) on_space();
  }
  void on_port_link(bool up) override { links.push_back(up); }

  std::vector<std::string> frames;
  bool keep_references = false;
  std::vector<BufferRef> references;
  int spaces = 0;
  std::vector<bool> links;
  std::function<void(const std::string&)> on_frame;
  std::function<void()> on_space;
};

/// A frame of `size` bytes that can be told from others by `number`.
inline std::string numbered_frame(std::uint32_t number, std::size_t size) {
  std::string frame(size, static_cast<char>(number * 7 + size));
  frame.replace(14, sizeof number, reinterpret_cast<const char*>(&number), sizeof number);
  return frame;
}

inline link::RxFrame rx_frame(const std::string& bytes) {
  return {.head = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}};
}

inline iovec piece_of(const std::string& bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

}  // namespace sluice::test
