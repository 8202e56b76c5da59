#include "policy/spelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace sluice::policy {

namespace {

// Longer words are no misspelling of ours; the bound keeps the table small whatever comes in.
constexpr std::size_t kLongestWord = 32;

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace

std::string_view nearest_spelling(std::string_view text,
                                  std::span<const std::string_view> candidates) {
  if (text.empty() || text.size() > kLongestWord) return {};
  std::string word = lower(text);
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (std::string_view candidate : candidates) {
    if (word.size() >= 2 && candidate.starts_with(word)) return candidate;
    std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string spelling_hint(std::string_view text, std::span<const std::string_view> candidates) {
  std::string_view near = nearest_spelling(text, candidates);
  if (!near.empty()) return fmt::format("; did you mean '{}'?", near);
  return fmt::format("; one of {}", fmt::join(candidates, ", "));
}

}  // namespace sluice::policy
