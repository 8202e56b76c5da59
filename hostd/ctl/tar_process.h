#pragma once

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"

namespace sluice::ctl {

/// A process of ours that packs files of this host into a tar archive, or unpacks one, at the other
/// end of a pipe: it may wait for a disk while we don't. What is wrong it says on standard error.
class TarProcess {
 public:
  TarProcess() = default;
  TarProcess(const TarProcess&) = delete;
  TarProcess& operator=(const TarProcess&) = delete;
  /// Ends it.
  ~TarProcess();

  /// False: errno says why not. The archive of `path`, called `as` in it, comes out of pipe().
  bool pack(const std::string& path, const std::string& as);
  /// What is written into pipe() is unpacked into `directory`. All of it is to be `as`, or below
  /// it;
  /// "." is for anything. With `owners` they are as the archive has them, and devices are made.
  bool unpack(const std::string& directory, const std::string& as, bool owners);

  int pipe() const { return pipe_.get(); }
  /// Closes the pipe and waits; whether it could do all of it.
  bool finish();

 private:
  template <typename Work>
  bool start(bool reads, Work work);

  UniqueFd pipe_;
  pid_t pid_ = -1;
};

}  // namespace sluice::ctl
