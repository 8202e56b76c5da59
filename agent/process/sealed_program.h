#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace sluice::agent {

/// A program that is run from a copy of it in memory, which nobody can change any more.
///
/// A runtime of containers must not be written to by way of /proc/PID/exe (CVE-2019-5736). crun
/// sees to that itself: each time it is run from a file that could be written to, it makes a copy
/// and runs that in its place. It finds here what it would make, once for all times. A file system
/// that is read-only is as good, and nothing is copied.
///
/// One thread; for programs of a few MiB at most, others are run as they are.
class SealedProgram {
 public:
  explicit SealedProgram(std::string path) : path_(std::move(path)) {}
  /// `copy` is another's: the descriptor() of it. Where it is none it is as if it were not said.
  SealedProgram(std::string path, UniqueFd copy);

  const std::string& path() const { return path_; }
  /// What is to be executed, in this process or a child of it: the copy, made anew where the file
  /// has changed, or path() where there is none.
  std::string executable();
  /// Of the copy, -1 where there is none. It stays ours.
  int descriptor() const { return copy_.get(); }

 private:
  void copy();

  std::string path_;
  UniqueFd copy_;
  bool is_given_ = false;
  std::optional<struct stat> seen_;  ///< The file at path_ when it was last looked at.
};

}  // namespace sluice::agent
