#pragma once

#include <string>

#include "agent/archive/root.h"
#include "agent/archive/tar_writer.h"

namespace sluice::agent {

/// Writes what is at `place` into an archive, a directory with all in it, and the end mark. `as`
/// is its name there; "." is for a directory whose content is to be at the top. No link is
/// followed. Hard links among the first 65536 files that have several names stay links; sockets,
/// and what is in /proc, /sys and their like, are left out. A file that grows meanwhile is cut at
/// its first size; one that shrinks is an error, as is a tree deeper than 256.
Status pack(const Root::Place& place, const std::string& as, TarWriter& archive);

/// The attributes of `name` in `parent`, with the target of a symbolic link.
Result<TarEntry> describe(int parent, const std::string& name);

}  // namespace sluice::agent
