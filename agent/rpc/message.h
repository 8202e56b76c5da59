#pragma once

#include <pb_decode.h>
#include <pb_encode.h>

#include <net/status.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace sluice::agent::rpc {

/// What the messages of one decode may take of memory, all together: a frame of empty elements
/// would else cost many times its size.
inline constexpr std::size_t kMaxDecodedBytes = std::size_t{4} << 20;

/// Decodes and encodes with nanopb. `fields` describes the message, which has none of its own kind
/// within it. Text with a NUL is refused: whoever reads it as a C string would see half of it.
Status decode(ConstBytes bytes, const pb_msgdesc_t& fields, void* message);
/// A message of ours that can't be encoded (a string that is no UTF-8) comes out empty.
std::vector<std::uint8_t> encode(const pb_msgdesc_t& fields, const void* message);

/// A decoded message with all that it points to.
template <typename T>
class Message {
 public:
  Message() = default;
  Message(Message&& other) noexcept : value_(other.value_) { other.value_ = T{}; }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { pb_release(fields(), &value_); }

  /// invalid_argument: not such a message, or beyond the limits.
  static Result<Message> parse(ConstBytes bytes) {
    Message message;
    if (Status status = decode(bytes, *fields(), &message.value_); !status) return status;
    return message;
  }

  const T& operator*() const { return value_; }
  const T* operator->() const { return &value_; }

 private:
  static const pb_msgdesc_t* fields() { return nanopb::MessageDescriptor<T>::fields(); }
  T value_{};
};

template <typename T>
std::vector<std::uint8_t> encode(const T& message) {
  return encode(*nanopb::MessageDescriptor<T>::fields(), &message);
}

/// A message of one bytes field (of a number below 16), whose content is written in place, so that
/// bulk data is not copied to be encoded.
class BytesMessage {
 public:
  BytesMessage(std::uint32_t number, std::size_t most);
  Bytes space() { return Bytes(storage_).subspan(kHeadroom); }
  /// The message with the first `size` bytes of space(); valid until the next call.
  ConstBytes of(std::size_t size);

 private:
  static constexpr std::size_t kHeadroom = 8;  ///< For tag and length.
  std::uint8_t tag_;
  std::vector<std::uint8_t> storage_;
};

/// A bytes field of a message that is encoded while this lives.
class BytesField {
 public:
  explicit BytesField(ConstBytes bytes);
  pb_bytes_array_t* array() { return reinterpret_cast<pb_bytes_array_t*>(storage_.data()); }

 private:
  std::vector<std::uint8_t> storage_;  // operator new aligns it for any object.
};

/// A string field: absent is empty.
inline std::string_view text(const char* field) {
  return field ? std::string_view(field) : std::string_view();
}

/// A repeated string field.
std::vector<std::string> strings(char* const* fields, pb_size_t count);

/// Text of whoever's making (a mount's place, a host name) as a message can carry it: what is no
/// UTF-8 becomes '?'.
std::string valid_utf8(std::string_view text);

inline ConstBytes bytes_of(const pb_bytes_array_t* field) {
  return field ? ConstBytes(field->bytes, field->size) : ConstBytes();
}

/// A string for a field of a message that is encoded while `text` lives. nanopb's fields are not
/// const; encoding writes to none.
inline char* field(const std::string& text) {
  return text.empty() ? nullptr : const_cast<char*>(text.c_str());
}

}  // namespace sluice::agent::rpc
