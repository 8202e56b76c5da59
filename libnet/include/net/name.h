#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include <net/status.h>

namespace sluice {

/// A domain name in its one normal form: lower-case ASCII, no trailing dot, labels of 1 to 63
/// bytes, at most 253 characters. "" is the root. Underscores are labels like any other
/// (service names, RFC 2782). Other bytes than letters, digits, '-' and '_' are refused, so that
/// what is compared, logged and matched is what was on the wire; IDNs come as punycode (RFC 5891).
class DomainName {
 public:
  DomainName() = default;
  static Result<DomainName> parse(std::string_view text);

  const std::string& text() const { return text_; }
  bool is_root() const { return text_.empty(); }
  /// Label-aligned: "a.example.com" and "example.com" are in "example.com", "badexample.com" isn't.
  bool is_in(const DomainName& zone) const;
  /// The number of labels; 0 for the root.
  int labels() const;
  /// Without the leftmost label; the root stays the root.
  DomainName parent() const;

  friend auto operator<=>(const DomainName&, const DomainName&) = default;

 private:
  explicit DomainName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace sluice

template <>
struct std::hash<sluice::DomainName> {
  std::size_t operator()(const sluice::DomainName& name) const noexcept {
    return std::hash<std::string>()(name.text());
  }
};
