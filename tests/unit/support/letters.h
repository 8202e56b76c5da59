#pragma once

#include <string>

namespace sluice::test {

/// `size` letters in turn from `first` on, so that one place can be told from the next.
inline std::string letters(std::size_t size, char first = 'a') {
  std::string out(size, first);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(first + i % 26);
  return out;
}

}  // namespace sluice::test
