#pragma once

#include <net/status.h>

#include <optional>
#include <string>
#include <vector>

#include "agent/process/identity.h"

namespace sluice::agent {

/// A file below `root`, as a process with that root would see it: no link of it leads out. Nothing
/// where it is no regular file, or larger than `most`.
std::optional<std::string> read_in_root(const std::string& root, const std::string& path,
                                        std::size_t most);

/// Who `user` is by the root's own /etc/passwd and /etc/group (process/identity.h).
Result<Identity> identity_in_root(const std::string& root, std::string_view user);

/// Mounts an image's layers (the lowest first) with what a container writes above them:
/// DIRECTORY/upper and DIRECTORY/work are made, and the whole is at `target`. `links` is a
/// directory for short names of the layers, as the kernel takes one page of them.
Status mount_layers(const std::vector<std::string>& layers, const std::string& directory,
                    const std::string& links, const std::string& target);
/// No error where nothing is mounted.
void unmount_layers(const std::string& target);

/// With all that is in it; goes into no mount and follows no link.
void remove_tree(const std::string& path);

}  // namespace sluice::agent
