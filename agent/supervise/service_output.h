#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::agent {

inline constexpr std::size_t kKeptOutputBytes = std::size_t{64} << 10;

/// The last that a service has written, in a ring: it never waits for who reads it.
class ServiceOutput {
 public:
  void write(std::string_view bytes);
  /// The oldest first, kKeptOutputBytes at most.
  std::string text() const;
  /// Bytes that are not kept any more.
  std::uint64_t lost() const { return written_ - ring_.size(); }

 private:
  std::string ring_;
  std::size_t next_ = 0;  ///< Where the oldest is, once it is full.
  std::uint64_t written_ = 0;
};

}  // namespace sluice::agent
