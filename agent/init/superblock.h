#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sluice::agent {

/// Of a disk's beginning what has to be read to tell a file system: btrfs has its superblock last,
/// 4 KiB at 64 KiB.
inline constexpr std::size_t kSuperblockBytes = std::size_t{68} << 10;

/// Which file system's superblock is there, named as for mount(2): ext4 (for ext2 and ext3 too),
/// xfs or btrfs. By its magic number and by the fields that a mount relies on, as four bytes alone
/// may be there by chance. Nothing where there is none, or more than one: then nobody knows which
/// is the living one. `begin` may be shorter than kSuperblockBytes.
std::optional<std::string_view> file_system_of(std::span<const std::uint8_t> begin);

/// What else is known by its signature, for a person: "an encrypted volume (LUKS)". Of these none
/// is mounted, nor written to. Empty: none. `begin` and `end` are of the disk's, up to
/// kSuperblockBytes each.
std::string_view other_signature(std::span<const std::uint8_t> begin,
                                 std::span<const std::uint8_t> end);

/// A swap area of the kernel's format of today (SWAPSPACE2), whatever the page size it was made
/// for.
bool is_swap(std::span<const std::uint8_t> begin);

}  // namespace sluice::agent
