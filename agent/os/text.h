#pragma once

#include <algorithm>
#include <string_view>

namespace sluice::agent {

/// Takes what is before the first `separator` off the front of `rest`, and the separator with it;
/// all of it where there is none.
inline std::string_view take_part(std::string_view& rest, char separator) {
  std::string_view part = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return part;
}

}  // namespace sluice::agent
