#include "agent/process/descriptor_limit.h"

#include <sys/resource.h>

namespace sluice::agent {

namespace {

rlimit childrens_limit{};

}  // namespace

void raise_descriptor_limit(bool as_init) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (as_init && limit.rlim_max < kMostDescriptors) {
    rlimit more{.rlim_cur = limit.rlim_cur, .rlim_max = kMostDescriptors};
    // Not where the kernel's own limit (fs.nr_open) is lower.
    if (::setrlimit(RLIMIT_NOFILE, &more) == 0) limit = more;
  }
  childrens_limit = limit;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void restore_descriptor_limit() {
  if (childrens_limit.rlim_max != 0) ::setrlimit(RLIMIT_NOFILE, &childrens_limit);
}

}  // namespace sluice::agent
