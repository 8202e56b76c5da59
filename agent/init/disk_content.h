#pragma once

#include <cstdint>
#include <span>
#include <string>

// What lies on a disk, told by reading it, and above all whether nothing does: a disk that is taken
// for blank may be formatted, so one that can't be read is never blank.

namespace sluice::agent {

/// A disk as it is read. The tests have one that fails at each place.
class DiskReader {
 public:
  struct Got {
    std::size_t bytes = 0;  ///< 0 at the end.
    int error = 0;          ///< errno
  };

  virtual ~DiskReader() = default;
  virtual std::uint64_t size() const = 0;
  /// Up to `into.size()` bytes from `offset` on.
  virtual Got read(std::uint64_t offset, std::span<std::uint8_t> into) = 0;
};

struct DiskContent {
  enum class Kind : std::uint8_t {
    unreadable,   ///< A read failed (`error`), or gave less than the disk's size promises (EIO).
    blank,        ///< Zeros wherever it was looked.
    file_system,  ///< One that we mount; `what` is its name for mount(2).
    swap,
    other,  ///< Something else, or two things at once.
  };
  Kind kind = Kind::unreadable;
  std::string what;  ///< For a person, but of file_system.
  int error = 0;
};

/// Where a disk is looked over for anything but zeros: all of one up to kWholeBytes. Of a larger
/// one kEdgeBytes at both ends, kMirrorBytes at each place where a file system keeps copies of its
/// superblock, and kSamples blocks of kSampleBytes, evenly spread. The edges have the superblocks
/// of all common file systems; MBR and GPT, with the second GPT; LUKS and its second header; LVM;
/// swap; RAID, of which 0.90 and 1.0 are at the end; ZFS's labels at both ends.
inline constexpr std::uint64_t kWholeBytes = std::uint64_t{128} << 20;
inline constexpr std::uint64_t kEdgeBytes = std::uint64_t{16} << 20;
inline constexpr std::uint64_t kMirrorBytes = std::uint64_t{64} << 10;
inline constexpr std::uint64_t kSamples = 2048;
inline constexpr std::uint64_t kSampleBytes = 4096;

/// What lies on it. A disk that is not blank costs some 20 reads; a blank one at most 128 MiB.
DiskContent look_at(DiskReader& disk);

}  // namespace sluice::agent
