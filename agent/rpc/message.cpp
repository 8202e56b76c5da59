#include "agent/rpc/message.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace {

/// What a decode may still allocate; one loop decodes one message at a time.
thread_local std::size_t budget = 0;

}  // namespace

extern "C" void* sluice_pb_realloc(void* memory, size_t size) {
  std::size_t held = memory ? malloc_usable_size(memory) : 0;
  if (size > budget + held) return nullptr;
  void* moved = std::realloc(memory, size);
  if (moved) budget = budget + held - std::min(budget + held, malloc_usable_size(moved));
  return moved;
}

extern "C" void sluice_pb_free(void* memory) {
  std::free(memory);
}

namespace sluice::agent::rpc {

Status decode(ConstBytes bytes, const pb_msgdesc_t& fields, void* message) {
  budget = kMaxDecodedBytes;
  pb_istream_t stream = pb_istream_from_buffer(bytes.data(), bytes.size());
  if (pb_decode(&stream, &fields, message)) return Status::ok();
  return Status(StatusCode::invalid_argument,
                std::string("the message can't be read: ") + PB_GET_ERROR(&stream));
}

std::vector<std::uint8_t> encode(const pb_msgdesc_t& fields, const void* message) {
  std::size_t size = 0;
  if (!pb_get_encoded_size(&size, &fields, message)) return {};
  std::vector<std::uint8_t> out(size);
  pb_ostream_t stream = pb_ostream_from_buffer(out.data(), out.size());
  if (!pb_encode(&stream, &fields, message)) return {};
  return out;
}

BytesField::BytesField(ConstBytes bytes) : storage_(PB_BYTES_ARRAY_T_ALLOCSIZE(bytes.size())) {
  array()->size = static_cast<pb_size_t>(bytes.size());
  if (!bytes.empty()) std::memcpy(array()->bytes, bytes.data(), bytes.size());
}

BytesMessage::BytesMessage(std::uint32_t number, std::size_t most)
    : tag_(static_cast<std::uint8_t>(number << 3 | PB_WT_STRING)), storage_(kHeadroom + most) {}

ConstBytes BytesMessage::of(std::size_t size) {
  std::array<std::uint8_t, kHeadroom> head{tag_};
  std::size_t used = 1;
  for (std::size_t rest = size;; rest >>= 7) {
    head[used++] = static_cast<std::uint8_t>((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    if (rest <= 0x7f) break;
  }
  std::memcpy(&storage_[kHeadroom - used], head.data(), used);
  return ConstBytes(storage_).subspan(kHeadroom - used, used + size);
}

}  // namespace sluice::agent::rpc
