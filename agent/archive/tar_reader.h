#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/archive/stream.h"
#include "agent/archive/tar_entry.h"

namespace sluice::agent {

/// Reads a tar archive as it comes: ustar, pax (path, linkpath, size, uid, gid, mtime,
/// SCHILY.xattr.*), GNU's long names, numbers in base 256. Sparse files and parts of several
/// volumes are refused. Memory is bounded by the limits below. Errors are invalid_argument, and
/// say what is wrong with the archive.
class TarReader {
 public:
  /// Whether an archive may end without the block of zeros that says so: one whose digest is known
  /// may, one that could have been cut off may not.
  enum class EndMark { required, optional };

  static constexpr std::size_t kMaxExtensionBytes = std::size_t{1} << 20;
  static constexpr std::size_t kMaxPathBytes = 4096;
  static constexpr std::size_t kMaxXattrs = 128;

  explicit TarReader(Source& source, EndMark end_mark = EndMark::required)
      : source_(source), end_mark_(end_mark) {}

  /// The next entry, past what is left of the one before; nothing at the end of the archive.
  Result<std::optional<TarEntry>> next();
  /// Of the entry's content; 0 at its end.
  Result<std::size_t> read(Bytes into);

 private:
  /// What comes before an entry to say what its header has no room for.
  struct Extension {
    std::optional<std::string> path, link;
    std::optional<std::uint64_t> size, uid, gid;
    std::optional<std::int64_t> mtime;
    std::uint32_t mtime_nsec = 0;
    std::map<std::string, std::string> xattrs;
  };

  Status skip(std::uint64_t bytes);
  Result<bool> read_block(std::uint8_t* block);
  Result<std::string> read_content(std::uint64_t size);
  Status take_long_name(std::optional<std::string>& place, std::uint64_t size);
  Status take_pax(std::uint64_t size);
  Status take_pax_record(std::string_view key, std::string_view value);
  Result<TarEntry> entry_of(const std::uint8_t* block, char type);

  Source& source_;
  EndMark end_mark_;
  Extension extension_;
  std::uint64_t left_ = 0;     ///< Of the content,
  std::uint64_t padding_ = 0;  ///< and what fills its last block.
  bool ended_ = false;
};

}  // namespace sluice::agent
