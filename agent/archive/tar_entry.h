#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace sluice::agent {

/// What a tar archive says of one file.
struct TarEntry {
  enum class Type : std::uint8_t {
    file,
    hard_link,
    symlink,
    character_device,
    block_device,
    directory,
    fifo
  };

  Type type = Type::file;
  std::string path;        ///< As it is written: nobody has looked yet where it leads.
  std::string link;        ///< Of a link: where to. A hard link's is a path of the archive.
  std::uint64_t size = 0;  ///< Bytes of content; of a file alone.
  std::uint32_t mode = 0;  ///< The lower 12 bits.
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime = 0;        ///< Seconds since the epoch,
  std::uint32_t mtime_nsec = 0;  ///< and what is beyond them.
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::map<std::string, std::string> xattrs;
};

// The format of POSIX.1-1988 (ustar) and 2001 (pax): blocks of 512 bytes, fields at fixed places.
namespace tar {

inline constexpr std::size_t kBlockBytes = 512;
/// What an archive keeps of a mode.
inline constexpr std::uint32_t kModeBits = 07777;
inline constexpr const char* kXattrKey = "SCHILY.xattr.";

struct Field {
  std::size_t offset;
  std::size_t size;
};
inline constexpr Field kName{0, 100};
inline constexpr Field kMode{100, 8};
inline constexpr Field kUid{108, 8};
inline constexpr Field kGid{116, 8};
inline constexpr Field kSize{124, 12};
inline constexpr Field kMtime{136, 12};
inline constexpr Field kChecksum{148, 8};
inline constexpr std::size_t kType = 156;
inline constexpr Field kLink{157, 100};
inline constexpr Field kMagic{257, 6};  ///< "ustar" and a NUL; GNU's own has a blank there.
inline constexpr Field kVersion{263, 2};
inline constexpr Field kMajor{329, 8};
inline constexpr Field kMinor{337, 8};
inline constexpr Field kPrefix{345, 155};

}  // namespace tar

}  // namespace sluice::agent
