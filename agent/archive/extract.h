#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/archive/root.h"
#include "agent/archive/tar_reader.h"

namespace sluice::agent {

/// What an archive's entries become.
struct ExtractOptions {
  /// Whiteouts of OCI image layers become those of overlayfs.
  bool is_layer = false;
  /// Device nodes are made, and not refused. Needs root.
  bool devices = false;
  /// Whose the files are: the archive's word, or root's. As another user always the agent's own.
  bool owners = true;
  /// A file may take a directory's place. Else that is an error.
  bool replaces_directories = false;
  /// A directory of the archive may be a symbolic link to one here, which stays.
  bool keeps_directory_links = false;
  /// All of the archive is to be this, or below it; empty: it may be anything. For archives of
  /// those who were asked for one thing.
  std::string only;
};

/// Makes what the archive has below `root`, which no path of it leaves: each is resolved by the
/// kernel within the root, hard links' targets too. What is there already is replaced. Of extended
/// attributes only user.*, security.capability and ACLs are set. An archive's own copy of a
/// directory's time survives what comes into it later. On an error what was made so far stays.
Status extract(TarReader& archive, const Root& root, const ExtractOptions& options);

}  // namespace sluice::agent
