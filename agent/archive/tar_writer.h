#pragma once

#include "agent/archive/stream.h"
#include "agent/archive/tar_entry.h"

namespace sluice::agent {

/// Writes a tar archive: ustar, and a pax header before each entry that has more than that can say.
/// The same entries give the same bytes.
class TarWriter {
 public:
  explicit TarWriter(Sink& sink) : sink_(sink) {}

  /// Begins an entry. Of a file exactly `size` bytes follow by write().
  Status add(const TarEntry& entry);
  Status write(ConstBytes content);
  /// The end mark.
  Status finish();

 private:
  Status pad();

  Sink& sink_;
  std::uint64_t written_ = 0;  ///< Of the present content.
};

}  // namespace sluice::agent
