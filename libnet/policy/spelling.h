#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sluice::policy {

/// The candidate that `text` most likely means: the one it abbreviates, else the one at the
/// smallest edit distance, if that is small for its length. "" when none is near.
std::string_view nearest_spelling(std::string_view text,
                                  std::span<const std::string_view> candidates);

/// "; did you mean 'x'?" for the nearest candidate, else "; one of a, b, c".
std::string spelling_hint(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace sluice::policy
