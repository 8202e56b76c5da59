// Any messages of a vhost-user front end, with descriptors of any kind: what is accepted leaves the
// device with rings that lie where they may be used.

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "check.h"
#include "hostd/attach/vhost_user_device.h"
#include "hostd/vhost_kit.h"

using namespace sluice;
using namespace sluice::test;
using hostd::VhostUserDevice;
using hostd::VhostUserHeader;

namespace {

constexpr std::size_t kMemory = 1 << 16;

const GuestPages& pages() {
  static const GuestPages made(kMemory);
  return made;
}

UniqueFd descriptor(std::uint8_t kind) {
  static const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  switch (kind & 3) {
    case 0:
      return pages().fd();
    case 1:
      return make_eventfd();
    case 2:
      return UniqueFd(::fcntl(null.get(), F_DUPFD_CLOEXEC, 0));
    default:
      return UniqueFd();
  }
}

/// A table whose regions are near those that exist, so that some are accepted.
void tame(std::vector<std::uint8_t>& payload) {
  for (std::size_t at = 8; at + 32 <= payload.size(); at += 32) {
    auto sane = pages().region();
    std::uint64_t values[] = {sane.guest_address, sane.size, sane.user_address, 0};
    for (std::size_t i = 0; i < 4; ++i) {
      std::uint64_t given = 0;
      std::memcpy(&given, &payload[at + 8 * i], sizeof given);
      // A part of the bytes is left to the input.
      values[i] += given & 0x1fff;
    }
    if (payload[at] < 0xc0) std::memcpy(&payload[at], values, sizeof values);
  }
}

/// Uses what runs as the port does.
void use(VhostUserDevice& device) {
  for (std::size_t index : {VhostUserDevice::kReceive, VhostUserDevice::kTransmit}) {
    hostd::VirtQueue& queue = device.queue(index);
    std::vector<iovec> pieces;
    for (int i = 0; i < 4 && queue.running(); ++i) {
      pieces.clear();
      auto chain = queue.pop(device.memory(), pieces);
      if (!chain) {
        device.fail(index);
        FUZZ_CHECK(!queue.running());
      } else if (*chain) {
        queue.give_back(**chain, 1);
      }
    }
    if (!queue.running()) continue;
    queue.ask_for_kick();
    queue.refuse_kicks();
    queue.publish();
    if (queue.wants_call()) device.call(index);
  }
  device.guest_offloads();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  VhostUserDevice device;
  std::uint64_t changes = 0;
  // Each message: its request, the number and kinds of its descriptors, its size, its payload.
  for (std::size_t at = 0; at + 4 <= size;) {
    hostd::VhostUserMessage message;
    std::uint32_t words[] = {data[at], 1u | (data[at + 1] & 8u), data[at + 3]};
    auto header = VhostUserHeader::read(bytes_of(words));
    if (!header) return 0;
    message.header = *header;
    for (int i = 0; i < (data[at + 1] & 3); ++i) {
      message.fds.push_back(descriptor(static_cast<std::uint8_t>(data[at + 2] >> (2 * i))));
    }
    at += 4;
    std::size_t take = std::min<std::size_t>(header->payload_size, size - at);
    message.payload.assign(data + at, data + at + take);
    message.header.payload_size = static_cast<std::uint32_t>(take);
    at += take;
    if (header->request == hostd::VhostUserRequest::set_mem_table) tame(message.payload);
    bool replies = header->needs_reply;
    auto reply = device.handle(std::move(message));
    if (!reply) return 0;
    FUZZ_CHECK(reply->empty() || reply->size() == 20);
    static_cast<void>(replies);
    FUZZ_CHECK(device.changes() >= changes);
    changes = device.changes();
    FUZZ_CHECK(!device.running() || !device.memory().empty());
    use(device);
  }
  return 0;
}
