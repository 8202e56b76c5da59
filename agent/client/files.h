#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "agent/client/byte_stream.h"
#include "agent/client/guest.h"

namespace sluice::agent::client {

/// Where a file is: of the VM, or of a container.
struct FilePlace {
  std::string path;
  std::string container;  ///< Empty: the VM.
  std::string root;       ///< A directory that stands for "/"; empty: all of it.
};

struct FileInfo {
  std::uint32_t mode = 0;  ///< As stat(2) has it.
  std::uint64_t size = 0;
  std::string link;
};

enum class LinkAtEnd { kept, followed };

void stat_file(Caller& caller, const FilePlace& place, LinkAtEnd link,
               OnAnswer<FileInfo> on_answer);

/// Whose copied files become, and what else an archive may have.
enum class Owners { roots, as_they_are };

/// A tar archive into a directory of the guest.
std::unique_ptr<Upload> copy_in(Caller& caller, const FilePlace& place, Owners owners,
                                Upload::Events events);
/// A file or directory of the guest as a tar archive, called `name` there.
std::unique_ptr<Download> copy_out(Caller& caller, const FilePlace& place, const std::string& name,
                                   Download::Events events);

}  // namespace sluice::agent::client
