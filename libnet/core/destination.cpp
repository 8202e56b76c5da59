#include "core/destination.h"

#include <fmt/format.h>

namespace sluice::core {

Result<Destination> Destination::parse(std::string_view text) {
  Destination out;
  if (text.empty()) return out;
  if (auto block = IpPrefix::parse(text)) {
    out.block_ = *block;
    return out;
  }
  out.below_ = text.starts_with("*.");
  auto name = DomainName::parse(out.below_ ? text.substr(2) : text);
  if (!name || name->is_root()) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("'{}' is no address, block or name", text));
  }
  out.name_ = *name;
  return out;
}

std::optional<bool> Destination::holds(const IpAddress& address) const {
  if (block_) return block_->contains(address);
  if (name_) return std::nullopt;
  return true;
}

bool Destination::holds_name(std::string_view name) const {
  if (!name_) return false;
  const std::string& wanted = name_->text();
  if (name == wanted) return true;
  return below_ && name.size() > wanted.size() && name.ends_with(wanted) &&
         name[name.size() - wanted.size() - 1] == '.';
}

}  // namespace sluice::core
