#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/client/files.h"
#include "base/uv_loop.h"
#include "hostd/ctl/guest_commands.h"
#include "hostd/ctl/input_pump.h"
#include "hostd/ctl/tar_process.h"

namespace sluice::ctl {

/// One side of `guest cp`.
struct CopySide {
  bool is_guest = false;
  bool is_stream = false;  ///< "-"
  std::string container;   ///< Of the guest's; empty: the VM.
  std::string path;

  /// "vm:PATH", "CONTAINER:PATH", "-" or a path here: one with a ':' in its first part begins with
  /// "./" or "/".
  static CopySide parse(const std::string& text);
};

/// Where a copy goes: into a directory, by a name there; "." for what is in a directory, without
/// it.
struct CopyTarget {
  std::string directory;
  std::string name;
};

/// What is at a path.
enum class FoundAt { nothing, file, directory };

/// As `cp` has it: into a directory that is there, else as the path itself. `from` ends with "/."
/// where only what is in it is meant. Empty: that can't be, and `why` says so.
std::optional<CopyTarget> copy_target(const std::string& from, bool from_is_directory,
                                      const std::string& to, FoundAt found, std::string& why);

/// One `guest cp`.
class GuestCopy {
 public:
  GuestCopy(UvLoop& loop, const CopyAsked& asked)
      : loop_(loop),
        asked_(asked),
        from_(CopySide::parse(asked.from)),
        to_(CopySide::parse(asked.to)) {}
  GuestCopy(const GuestCopy&) = delete;
  GuestCopy& operator=(const GuestCopy&) = delete;

  void begin(agent::client::Caller& caller, std::function<void(int)> end);

 private:
  void fail(const std::string& why);
  void upload(FoundAt found);
  void download(bool is_directory);
  void send(int fd, const std::string& directory);

  UvLoop& loop_;
  CopyAsked asked_;
  CopySide from_;
  CopySide to_;
  agent::client::Caller* caller_ = nullptr;
  std::function<void(int)> end_;
  TarProcess tar_;
  bool has_tar_ = false;
  std::unique_ptr<InputPump> pump_;
  std::unique_ptr<agent::client::Upload> upload_;
  std::unique_ptr<agent::client::Download> download_;
};

}  // namespace sluice::ctl
