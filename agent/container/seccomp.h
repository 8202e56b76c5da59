#pragma once

#include <jansson.h>

#include <string>
#include <vector>

namespace sluice::agent {

/// `linux.seccomp` of a config.json: the system calls of a program that has `capabilities` which
/// fail with EPERM, or nothing (null) where there are none. They are those that reach parts of the
/// kernel which an ordinary program has no use for (keys, bpf, userfaultfd, io_uring, modules) or
/// that make namespaces and mounts. A capability that a call is there for allows it, so a container
/// with all of them is not filtered. clone3(), whose flags a filter can't see, is ENOSYS to who may
/// make no namespaces: libraries use clone() then. Calls by the 32-bit interfaces are filtered
/// likewise.
json_t* seccomp_json(const std::vector<std::string>& capabilities);

}  // namespace sluice::agent
