#include "hostd/attach/vhost_user_message.h"

#include <fmt/format.h>

#include <cstring>

namespace sluice::hostd {

namespace {

constexpr std::uint32_t kVersionMask = 3, kVersion = 1, kReply = 1 << 2, kNeedReply = 1 << 3;
constexpr std::size_t kRegionBytes = 32;

template <typename T>
T load(ConstBytes bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

Status wrong_size(const VhostUserHeader& header) {
  return Status(
      StatusCode::invalid_argument,
      fmt::format("{} with a payload of {} bytes", to_string(header.request), header.payload_size));
}

template <typename T>
std::vector<std::uint8_t> reply(VhostUserRequest request, const T& payload) {
  std::uint32_t header[] = {static_cast<std::uint32_t>(request), kVersion | kReply, sizeof payload};
  std::vector<std::uint8_t> out(sizeof header + sizeof payload);
  std::memcpy(out.data(), header, sizeof header);
  std::memcpy(out.data() + sizeof header, &payload, sizeof payload);
  return out;
}

}  // namespace

std::string to_string(VhostUserRequest request) {
  switch (request) {
    case VhostUserRequest::get_features:
      return "GET_FEATURES";
    case VhostUserRequest::set_features:
      return "SET_FEATURES";
    case VhostUserRequest::set_owner:
      return "SET_OWNER";
    case VhostUserRequest::reset_owner:
      return "RESET_OWNER";
    case VhostUserRequest::set_mem_table:
      return "SET_MEM_TABLE";
    case VhostUserRequest::set_vring_num:
      return "SET_VRING_NUM";
    case VhostUserRequest::set_vring_addr:
      return "SET_VRING_ADDR";
    case VhostUserRequest::set_vring_base:
      return "SET_VRING_BASE";
    case VhostUserRequest::get_vring_base:
      return "GET_VRING_BASE";
    case VhostUserRequest::set_vring_kick:
      return "SET_VRING_KICK";
    case VhostUserRequest::set_vring_call:
      return "SET_VRING_CALL";
    case VhostUserRequest::set_vring_err:
      return "SET_VRING_ERR";
    case VhostUserRequest::get_protocol_features:
      return "GET_PROTOCOL_FEATURES";
    case VhostUserRequest::set_protocol_features:
      return "SET_PROTOCOL_FEATURES";
    case VhostUserRequest::get_queue_num:
      return "GET_QUEUE_NUM";
    case VhostUserRequest::set_vring_enable:
      return "SET_VRING_ENABLE";
    case VhostUserRequest::reset_device:
      return "RESET_DEVICE";
  }
  return fmt::format("request {}", static_cast<std::uint32_t>(request));
}

Result<VhostUserHeader> VhostUserHeader::read(ConstBytes bytes) {
  auto request = static_cast<VhostUserRequest>(load<std::uint32_t>(bytes, 0));
  auto flags = load<std::uint32_t>(bytes, 4), size = load<std::uint32_t>(bytes, 8);
  auto bad = [&](const std::string& what) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("{} with {}", to_string(request), what));
  };
  if ((flags & kVersionMask) != kVersion)
    return bad(fmt::format("flags {:#x}, no version 1", flags));
  if ((flags & kReply) != 0) return bad("the flag of a reply");
  if (size > kMaxPayload) return bad(fmt::format("a payload of {} bytes", size));
  return VhostUserHeader{request, (flags & kNeedReply) != 0, size};
}

Result<std::uint64_t> VhostUserMessage::number() const {
  if (payload.size() != 8) return wrong_size(header);
  return load<std::uint64_t>(payload, 0);
}

Result<VringState> VhostUserMessage::vring_state() const {
  if (payload.size() != 8) return wrong_size(header);
  return VringState{load<std::uint32_t>(payload, 0), load<std::uint32_t>(payload, 4)};
}

Result<VringAddress> VhostUserMessage::vring_address() const {
  // Its last number is of the log for migration, which is not offered.
  if (payload.size() != 40) return wrong_size(header);
  return VringAddress{.index = load<std::uint32_t>(payload, 0),
                      .flags = load<std::uint32_t>(payload, 4),
                      .descriptors = load<std::uint64_t>(payload, 8),
                      .used = load<std::uint64_t>(payload, 16),
                      .available = load<std::uint64_t>(payload, 24)};
}

Result<std::vector<MemoryRegion>> VhostUserMessage::memory_regions() const {
  if (payload.size() < 8) return wrong_size(header);
  std::size_t count = load<std::uint32_t>(payload, 0);
  // Some front ends send the whole table, whatever is used of it.
  if (count > (payload.size() - 8) / kRegionBytes) return wrong_size(header);
  std::vector<MemoryRegion> out;
  for (std::size_t at = 8; out.size() < count; at += kRegionBytes) {
    out.push_back({.guest_address = load<std::uint64_t>(payload, at),
                   .size = load<std::uint64_t>(payload, at + 8),
                   .user_address = load<std::uint64_t>(payload, at + 16),
                   .mmap_offset = load<std::uint64_t>(payload, at + 24)});
  }
  return out;
}

std::vector<std::uint8_t> vhost_user_reply(VhostUserRequest request, std::uint64_t number) {
  return reply(request, number);
}

std::vector<std::uint8_t> vhost_user_reply(VhostUserRequest request, const VringState& state) {
  return reply(request, state);
}

}  // namespace sluice::hostd
