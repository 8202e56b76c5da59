#pragma once

#include <sys/un.h>

#include <string>

#include <net/status.h>

#include "base/unique_fd.h"

namespace sluice {

/// invalid_argument if `path` is empty or longer than the kernel takes (107 bytes).
Result<sockaddr_un> unix_address(const std::string& path);

/// The file of a bound Unix socket. Removed at destruction if the path still names the same file.
class UnixSocketFile {
 public:
  UnixSocketFile() = default;
  /// Remembers what is at `path` now.
  explicit UnixSocketFile(std::string path);
  UnixSocketFile(UnixSocketFile&& other) noexcept { *this = std::move(other); }
  UnixSocketFile& operator=(UnixSocketFile&& other) noexcept;
  ~UnixSocketFile() { remove(); }

 private:
  void remove();

  std::string path_;  ///< Empty: none.
  unsigned long device_ = 0;
  unsigned long inode_ = 0;
};

/// Whether `path` is a socket file that a process which ended has left behind.
bool is_left_behind(const std::string& path);

/// Binds `fd` to `path`. A socket file that is there already is replaced if nothing answers behind
/// it; anything else there is an error (already_exists) and stays.
Result<UnixSocketFile> bind_unix(int fd, const std::string& path);

}  // namespace sluice
