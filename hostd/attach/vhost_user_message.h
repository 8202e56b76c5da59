#pragma once

#include <net/status.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/unique_fd.h"

namespace sluice::hostd {

// Messages of the vhost-user protocol, as QEMU's document "Vhost-user Protocol" has it: a header of
// 12 bytes (request, flags, size of the payload), then the payload; numbers in the machine's order.

/// What a front end asks. Names and numbers are the document's.
enum class VhostUserRequest : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  reset_device = 34,
};

/// The document's name, for the log; "request 99" for one that is not known here.
std::string to_string(VhostUserRequest request);

struct VhostUserHeader {
  static constexpr std::size_t kSize = 12;
  /// Of the longest payload known here, a memory table of 8 regions.
  static constexpr std::size_t kMaxPayload = 8 + 8 * 32;

  VhostUserRequest request{};
  bool needs_reply = false;
  std::uint32_t payload_size = 0;

  /// `bytes` has kSize. invalid_argument where the version is not 1, it is a reply, or the payload
  /// is longer than kMaxPayload.
  static Result<VhostUserHeader> read(ConstBytes bytes);
};

/// A ring and a number: set_vring_num, _base, _enable, get_vring_base.
struct VringState {
  std::uint32_t index = 0;
  std::uint32_t value = 0;
};

/// Where a ring's parts lie, in addresses of the front end's own.
struct VringAddress {
  std::uint32_t index = 0;
  std::uint32_t flags = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t used = 0;
  std::uint64_t available = 0;
};

struct MemoryRegion {
  std::uint64_t guest_address = 0;
  std::uint64_t size = 0;
  std::uint64_t user_address = 0;
  std::uint64_t mmap_offset = 0;
};

/// A whole message, with the descriptors that came along.
struct VhostUserMessage {
  VhostUserHeader header;
  std::vector<std::uint8_t> payload;
  std::vector<UniqueFd> fds;

  // What the payload says; invalid_argument where its size is not that.
  Result<std::uint64_t> number() const;
  Result<VringState> vring_state() const;
  Result<VringAddress> vring_address() const;
  Result<std::vector<MemoryRegion>> memory_regions() const;
};

/// The reply to a request.
std::vector<std::uint8_t> vhost_user_reply(VhostUserRequest request, std::uint64_t number);
std::vector<std::uint8_t> vhost_user_reply(VhostUserRequest request, const VringState& state);

}  // namespace sluice::hostd
