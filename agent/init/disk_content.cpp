#include "agent/init/disk_content.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "agent/init/superblock.h"

namespace sluice::agent {

namespace {

constexpr std::uint64_t kChunkBytes = std::uint64_t{1} << 20;
/// Raid's superblocks are the farthest from the end.
constexpr std::uint64_t kEndBytes = std::uint64_t{128} << 10;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

/// Where copies of superblocks lie beyond the edges: of ext with blocks of 1, 2 and 4 KiB (in the
/// groups 1, 3, 5, 7, 9, ... of 8192 blocks of 1 KiB, 16384 of 2, 32768 of 4), and of btrfs at 64
/// MiB and 256 GiB.
std::vector<std::uint64_t> mirrors() {
  std::vector<std::uint64_t> places{64 * kMiB, 256 * 1024 * kMiB};
  constexpr std::uint64_t kBytesOfGroup[] = {8 * kMiB, 32 * kMiB, 128 * kMiB};
  for (std::uint64_t group_bytes : kBytesOfGroup) {
    for (std::uint64_t group : {1, 3, 5, 7, 9, 25, 27, 49, 81}) {
      places.push_back(group * group_bytes);
    }
  }
  return places;
}

/// Reads, and remembers the first failure.
class Looker {
 public:
  explicit Looker(DiskReader& disk) : disk_(disk), buffer_(kChunkBytes) {}

  const DiskContent& failure() const { return failure_; }
  bool failed() const { return failure_.error != 0; }
  std::uint64_t dirty_at() const { return dirty_at_; }

  /// Fills all of `into`, or fails.
  bool fill(std::uint64_t offset, std::span<std::uint8_t> into) {
    while (!into.empty() && !failed()) {
      DiskReader::Got got = disk_.read(offset, into);
      if (got.error == EINTR) continue;
      if (got.error != 0) {
        fail(got.error, fmt::format("read at byte {}: {}", offset, std::strerror(got.error)));
      } else if (got.bytes == 0 || got.bytes > into.size()) {
        fail(EIO, fmt::format("it ends at byte {}, and is said to have {}", offset, disk_.size()));
      } else {
        offset += got.bytes;
        into = into.subspan(got.bytes);
      }
    }
    return !failed();
  }

  /// Only zeros there; the part beyond the disk's end is. False where a read failed too.
  bool is_zero(std::uint64_t offset, std::uint64_t length) {
    std::uint64_t end = std::min(disk_.size(), offset + length);
    while (offset < end) {
      std::size_t count = std::min(end - offset, kChunkBytes);
      std::span<std::uint8_t> chunk(buffer_.data(), count);
      if (!fill(offset, chunk)) return false;
      // Each byte is the one before it, and the first is zero.
      if (chunk[0] != 0 || std::memcmp(chunk.data(), chunk.data() + 1, count - 1) != 0) {
        auto dirty = std::find_if(chunk.begin(), chunk.end(), [](auto byte) { return byte != 0; });
        dirty_at_ = offset + static_cast<std::uint64_t>(dirty - chunk.begin());
        return false;
      }
      offset += count;
    }
    return true;
  }

 private:
  void fail(int error, std::string what) {
    failure_ = {.kind = DiskContent::Kind::unreadable, .what = std::move(what), .error = error};
  }

  DiskReader& disk_;
  std::vector<std::uint8_t> buffer_;
  DiskContent failure_;
  std::uint64_t dirty_at_ = 0;
};

bool is_blank(Looker& looker, std::uint64_t size) {
  if (size <= kWholeBytes) return looker.is_zero(0, size);
  if (!looker.is_zero(0, kEdgeBytes) || !looker.is_zero(size - kEdgeBytes, kEdgeBytes)) {
    return false;
  }
  for (std::uint64_t place : mirrors()) {
    if (place < size && !looker.is_zero(place, kMirrorBytes)) return false;
  }
  std::uint64_t step = size / kSamples;
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    std::uint64_t at = i * step / kSampleBytes * kSampleBytes;
    if (!looker.is_zero(at, kSampleBytes)) return false;
  }
  return true;
}

}  // namespace

DiskContent look_at(DiskReader& disk) {
  using Kind = DiskContent::Kind;
  std::uint64_t size = disk.size();
  if (size == 0) return {.what = "it has no bytes", .error = ENOMEDIUM};
  Looker looker(disk);
  std::vector<std::uint8_t> begin(std::min<std::uint64_t>(size, kSuperblockBytes));
  std::vector<std::uint8_t> end(std::min(size, kEndBytes));
  if (!looker.fill(0, begin) || !looker.fill(size - end.size(), end)) return looker.failure();

  auto file_system = file_system_of(begin);
  std::string_view other = other_signature(begin, end);
  if (file_system && other.empty() && !is_swap(begin)) {
    return {.kind = Kind::file_system, .what = std::string(*file_system)};
  }
  if (file_system) {
    return {.kind = Kind::other,
            .what = fmt::format("{} and {}: nobody knows which of them lives", *file_system,
                                other.empty() ? "swap" : other)};
  }
  if (!other.empty()) return {.kind = Kind::other, .what = std::string(other)};
  if (is_swap(begin)) return {.kind = Kind::swap, .what = "swap"};
  if (is_blank(looker, size)) return {.kind = Kind::blank, .what = "blank"};
  if (looker.failed()) return looker.failure();
  constexpr std::size_t kBootMark = 510;
  bool is_mbr =
      begin.size() >= kBootMark + 2 && begin[kBootMark] == 0x55 && begin[kBootMark + 1] == 0xaa;
  return {.kind = Kind::other,
          .what = is_mbr
                      ? "a partition table or a boot sector (MBR)"
                      : fmt::format("something unknown (byte {} is not zero)", looker.dirty_at())};
}

}  // namespace sluice::agent
