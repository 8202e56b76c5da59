#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <net/name.h>

#include "base/bytes.h"

namespace sluice::wire {

/// A name as it travels: length-prefixed labels of any bytes, uncompressed, ended by the root's
/// zero byte, at most 255 bytes in all (RFC 1035 section 3.1). Keeps the sender's case. Only a
/// valid name can be held.
class DnsName {
 public:
  static constexpr std::size_t kMaxBytes = 255;

  /// The root.
  DnsName() : wire_(1, '\0') {}
  explicit DnsName(const DomainName& name);

  struct Read;
  /// The name at `offset` of a message, its compression pointers followed (RFC 1035 section
  /// 4.1.4). Pointers may only lead backwards, each further than the one before. Nothing for a
  /// name that is malformed, too long or leaves the message.
  static std::optional<Read> read(ConstBytes message, std::size_t offset);

  /// Labels and the root's zero byte.
  std::string_view wire() const { return wire_; }
  bool is_root() const { return wire_.size() == 1; }
  /// Equal in all but the case of ASCII letters (RFC 4343).
  bool same_as(const DnsName& other) const;
  /// Label-aligned and without regard to case; every name is in itself and in the root.
  bool is_in(const DnsName& zone) const;
  DnsName lowered() const;
  /// With letters turned to upper case where the next bit of `bits` is set, to lower where not;
  /// the bits are used again after 64 letters.
  DnsName with_case(std::uint64_t bits) const;
  /// What policy sees; nothing where the name has bytes that DomainName refuses.
  std::optional<DomainName> domain() const;
  /// For people: odd bytes as \DDD (RFC 1035 section 5.1), "." for the root.
  std::string to_string() const;

  /// Byte by byte, so that a changed case is a difference.
  friend bool operator==(const DnsName&, const DnsName&) = default;

 private:
  explicit DnsName(std::string wire) : wire_(std::move(wire)) {}
  std::string wire_;
};

struct DnsName::Read {
  DnsName name;
  std::size_t end = 0;  ///< Where in the message the name ends (after a pointer, if it has one).
};

}  // namespace sluice::wire
