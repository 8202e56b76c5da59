#include "agent/rpc/message.h"

#include <malloc.h>
#include <pb_common.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace {

/// What a decode may still allocate; one loop decodes one message at a time.
thread_local std::size_t budget = 0;

/// Whether some text of an encoded message has a NUL in it. What can't be read counts as none: the
/// decoder says so.
bool has_nul_text(pb_istream_t& stream, const pb_msgdesc_t& fields) {
  pb_field_iter_t field;
  bool known = pb_field_iter_begin(&field, &fields, nullptr);
  pb_wire_type_t wire{};
  std::uint32_t tag = 0;
  bool end = false;
  while (pb_decode_tag(&stream, &wire, &tag, &end)) {
    bool found = known && pb_field_iter_find(&field, tag);
    if (!found || wire != PB_WT_STRING) {
      if (!pb_skip_field(&stream, wire)) return false;
      continue;
    }
    pb_istream_t inner;
    if (!pb_make_string_substream(&stream, &inner)) return false;
    pb_type_t type = PB_LTYPE(field.type);
    const void* at = inner.state;
    if (type == PB_LTYPE_STRING && std::memchr(at, 0, inner.bytes_left)) return true;
    if (PB_LTYPE_IS_SUBMSG(type) && has_nul_text(inner, *field.submsg_desc)) return true;
    if (!pb_close_string_substream(&stream, &inner)) return false;
  }
  return false;
}

}  // namespace

/// An array grows by halves and not by elements, which would be copied once for each of them.
extern "C" void* sluice_pb_realloc(void* memory, size_t size) {
  std::size_t held = memory ? malloc_usable_size(memory) : 0;
  if (size <= held) return memory;
  std::size_t room = budget + held;
  if (size > room) return nullptr;
  size = std::max(size, std::min(held + held / 2, room));
  void* moved = std::realloc(memory, size);
  if (moved) budget = room - std::min(room, malloc_usable_size(moved));
  return moved;
}

extern "C" void sluice_pb_free(void* memory) {
  std::free(memory);
}

namespace sluice::agent::rpc {

Status decode(ConstBytes bytes, const pb_msgdesc_t& fields, void* message) {
  budget = kMaxDecodedBytes;
  pb_istream_t stream = pb_istream_from_buffer(bytes.data(), bytes.size());
  pb_istream_t again = stream;
  if (pb_decode(&stream, &fields, message)) {
    if (!has_nul_text(again, fields)) return Status::ok();
    return Status(StatusCode::invalid_argument, "the message has text with a NUL in it");
  }
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

std::vector<std::string> strings(char* const* fields, pb_size_t count) {
  std::vector<std::string> list;
  for (pb_size_t i = 0; i < count; ++i) list.emplace_back(text(fields[i]));
  return list;
}

std::string valid_utf8(std::string_view text) {
  constexpr std::size_t kMostBytes = 4;
  std::string valid;
  while (!text.empty()) {
    auto lead = static_cast<std::uint8_t>(text[0]);
    std::size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : kMostBytes;
    std::string one(text.substr(0, size));
    bool whole = one.size() == size && one[0] != 0 && pb_validate_utf8(one.c_str());
    valid += whole ? one : "?";
    text.remove_prefix(whole ? size : 1);
  }
  return valid;
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
