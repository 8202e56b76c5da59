#include "agent/init/superblock.h"

#include <bit>
#include <cstring>
#include <string_view>

namespace sluice::agent {

namespace {

using namespace std::string_view_literals;
using Begin = std::span<const std::uint8_t>;

/// Little-endian; 0 beyond the end, which no field that is asked for may be.
std::uint64_t load_le(Begin bytes, std::size_t at, std::size_t width) {
  std::uint64_t value = 0;
  if (at + width > bytes.size()) return 0;
  for (std::size_t i = width; i > 0; --i) value = value << 8 | bytes[at + i - 1];
  return value;
}

/// Big-endian, as xfs has it.
std::uint64_t load_be(Begin bytes, std::size_t at, std::size_t width) {
  std::uint64_t value = 0;
  if (at + width > bytes.size()) return 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8 | bytes[at + i];
  return value;
}

bool has(Begin bytes, std::size_t at, std::string_view magic) {
  return at <= bytes.size() && bytes.size() - at >= magic.size() &&
         std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

bool is_block_size(std::uint64_t bytes) {
  constexpr std::uint64_t kLeast = 512;
  constexpr std::uint64_t kMost = 65536;
  return bytes >= kLeast && bytes <= kMost && std::has_single_bit(bytes);
}

bool is_ext(Begin begin) {
  constexpr std::size_t kAt = 1024;
  constexpr std::uint64_t kMagic = 0xef53;
  constexpr std::uint64_t kMostLogBlock = 6;  // 64 KiB
  constexpr std::uint64_t kJournalDevice = 0x8;
  std::uint64_t features = load_le(begin, kAt + 96, 4);
  return load_le(begin, kAt + 56, 2) == kMagic && load_le(begin, kAt + 24, 4) <= kMostLogBlock &&
         load_le(begin, kAt + 0, 4) != 0 &&   // inodes
         load_le(begin, kAt + 32, 4) != 0 &&  // blocks of a group
         load_le(begin, kAt + 40, 4) != 0 &&  // inodes of a group
         (features & kJournalDevice) == 0;    // that is the journal of another
}

bool is_xfs(Begin begin) {
  return has(begin, 0, "XFSB") && is_block_size(load_be(begin, 4, 4)) &&
         load_be(begin, 8, 8) != 0 &&              // blocks
         is_block_size(load_be(begin, 102, 2)) &&  // sectors
         load_be(begin, 84, 4) != 0;               // blocks of an allocation group
}

bool is_btrfs(Begin begin) {
  constexpr std::size_t kAt = std::size_t{64} << 10;
  return has(begin, kAt + 64, "_BHRfS_M") && load_le(begin, kAt + 48, 8) == kAt &&
         load_le(begin, kAt + 112, 8) != 0 &&            // bytes
         is_block_size(load_le(begin, kAt + 144, 4)) &&  // sectors
         is_block_size(load_le(begin, kAt + 148, 4));    // nodes
}

struct Signature {
  std::size_t at;
  std::string_view magic;
  std::string_view what;
};

constexpr std::string_view kLvm = "a volume of LVM";
constexpr std::string_view kRaid = "a member of a RAID";
constexpr std::string_view kRaidMagic = "\xfc\x4e\x2b\xa9"sv;
constexpr std::string_view kGpt = "a partition table (GPT)";

constexpr Signature kAtBegin[] = {
    {0, "LUKS\xba\xbe", "an encrypted volume (LUKS)"},
    {0x4000, "SKUL\xba\xbe", "an encrypted volume (LUKS)"},
    {0, "LABELONE", kLvm},
    {512, "LABELONE", kLvm},
    {1024, "LABELONE", kLvm},
    {1536, "LABELONE", kLvm},
    {512, "EFI PART", kGpt},
    {4096, "EFI PART", kGpt},
    {0, kRaidMagic, kRaid},
    {4096, kRaidMagic, kRaid},
    {4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"sv,
     "a disk of bcache"},
    {3, "NTFS    ", "a file system (NTFS)"},
    {3, "EXFAT   ", "a file system (exFAT)"},
    {0, "hsqs", "a file system (squashfs)"},
    {1024, "\xe2\xe1\xf5\xe0"sv, "a file system (EROFS)"},
    {1024, "\x10\x20\xf5\xf2"sv, "a file system (F2FS)"},
    {32768, "JFS1", "a file system (JFS)"},
    {32769, "CD001", "a file system (ISO 9660)"},
    {65536 + 52, "ReIsEr", "a file system (ReiserFS)"},
};

/// `at` is from the end.
constexpr Signature kAtEnd[] = {
    {512, "EFI PART", kGpt},
    {4096, "EFI PART", kGpt},
};

/// Where RAID of versions 0.90 and 1.0 puts its superblock: within the last 128 KiB, on a boundary
/// that depends on the size. Any of 4 KiB will do here.
bool has_raid_at_end(Begin end) {
  constexpr std::size_t kStep = 512;
  for (std::size_t back = kStep; back <= end.size(); back += kStep) {
    std::size_t at = end.size() - back;
    constexpr std::size_t kMagicAndVersion = 8;
    if (at + kMagicAndVersion > end.size() || !has(end, at, kRaidMagic)) continue;
    std::uint64_t version = load_le(end, at + 4, 4);
    if (version <= 1) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string_view> file_system_of(std::span<const std::uint8_t> begin) {
  std::optional<std::string_view> found;
  int count = 0;
  auto take = [&](bool is_it, std::string_view name) {
    if (!is_it) return;
    found = name;
    ++count;
  };
  take(is_ext(begin), "ext4");
  take(is_xfs(begin), "xfs");
  take(is_btrfs(begin), "btrfs");
  if (count > 1) found.reset();
  return found;
}

std::string_view other_signature(std::span<const std::uint8_t> begin,
                                 std::span<const std::uint8_t> end) {
  for (const Signature& one : kAtBegin) {
    if (has(begin, one.at, one.magic)) return one.what;
  }
  for (const Signature& one : kAtEnd) {
    if (one.at <= end.size() && has(end, end.size() - one.at, one.magic)) return one.what;
  }
  return has_raid_at_end(end) ? kRaid : std::string_view();
}

bool is_swap(std::span<const std::uint8_t> begin) {
  constexpr std::string_view kMagic = "SWAPSPACE2";
  for (std::size_t page = 4096; page <= 65536; page *= 2) {
    if (has(begin, page - kMagic.size(), kMagic)) return true;
  }
  return false;
}

}  // namespace sluice::agent
