#include <net/name.h>

#include <fmt/format.h>

#include <algorithm>

namespace sluice {

Result<DomainName> DomainName::parse(std::string_view text) {
  auto bad = [&](std::string_view why) {
    return Status(StatusCode::invalid_argument, fmt::format("'{}' is not a name: {}", text, why));
  };
  if (!text.empty() && text.back() == '.') text.remove_suffix(1);
  if (text.size() > 253) return bad("longer than 253 characters");
  std::string normal(text);
  std::size_t label = 0;
  for (char& c : normal) {
    if (c == '.') {
      if (label == 0) return bad("an empty label");
      label = 0;
      continue;
    }
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!allowed) return bad("only letters, digits, '-', '_' and '.' (IDNs as punycode)");
    if (++label > 63) return bad("a label longer than 63 characters");
  }
  if (!normal.empty() && label == 0) return bad("an empty label");
  return DomainName(std::move(normal));
}

bool DomainName::is_in(const DomainName& zone) const {
  if (zone.is_root()) return true;
  if (text_.size() < zone.text_.size() || !text_.ends_with(zone.text_)) return false;
  return text_.size() == zone.text_.size() || text_[text_.size() - zone.text_.size() - 1] == '.';
}

int DomainName::labels() const {
  if (text_.empty()) return 0;
  return 1 + static_cast<int>(std::count(text_.begin(), text_.end(), '.'));
}

DomainName DomainName::parent() const {
  auto dot = text_.find('.');
  return dot == std::string::npos ? DomainName() : DomainName(text_.substr(dot + 1));
}

}  // namespace sluice
