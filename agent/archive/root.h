#pragma once

#include <net/status.h>
#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace sluice::agent {

/// A directory that stands for "/": paths are resolved by the kernel within it (openat2,
/// Linux 5.6), so neither "..", nor an absolute path, nor a symbolic link leads out of it, whoever
/// changes them meanwhile. A path may begin with "/" or not.
class Root {
 public:
  /// The directory `path`, itself resolved in the usual way.
  static Result<Root> open(const std::string& path);
  explicit Root(UniqueFd directory) : directory_(std::move(directory)) {}

  int fd() const { return directory_.get(); }
  /// From now on a path with a symbolic link in it, but for its end, leads nowhere (ELOOP).
  void refuse_links() { follows_links_ = false; }

  /// As open(2) with `flags`, close-on-exec; errno where there is none.
  UniqueFd open_at(const std::string& path, int flags) const;
  /// The directory at `path`, for reading, made with all above it where it isn't there.
  Result<UniqueFd> make_directories(const std::string& path, unsigned mode) const;

  /// Where a file is, or would be: the directory that it is in, and its name there.
  struct Place {
    UniqueFd parent;
    std::string name;  ///< "." is the root itself.
  };
  enum class LastLink { kept, followed };
  /// Where there is none errno says why. `last`: whether a symbolic link at the end of the path is
  /// what is meant, or what it leads to.
  Result<Place> find(const std::string& path, LastLink last) const;

 private:
  UniqueFd directory_;
  bool follows_links_ = true;
};

/// A path of an archive or a call, cut into what is above and the name. Without "/" at the ends,
/// "." and empty parts; ".." stays, and is the kernel's to resolve. The name is empty for the root.
struct SplitPath {
  std::string above;
  std::string name;
};
SplitPath split_path(std::string_view path);

/// Removes `name` of the directory `parent`, with all that is in it, following nothing. What is not
/// there is no error.
Status remove_tree(int parent, const std::string& name);

}  // namespace sluice::agent
