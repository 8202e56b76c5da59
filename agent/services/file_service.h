#pragma once

#include <net/status.h>

#include <functional>
#include <string>
#include <string_view>

#include "agent/rpc/call.h"
#include "agent/services/job_call.h"

namespace sluice::agent {

/// The service File: files of the VM and of its containers, each call a job of a worker, as any of
/// them may wait for a disk, or for a file system of somebody's. One thread. Must outlive the
/// connections whose calls it serves.
class FileService {
 public:
  /// The directory that is a container's "/", as the agent sees it, or why there is none.
  using RootOf = std::function<Result<std::string>(std::string_view container)>;

  explicit FileService(JobRunner& runner, RootOf root_of = {})
      : runner_(runner), root_of_(std::move(root_of)) {}
  FileService(const FileService&) = delete;
  FileService& operator=(const FileService&) = delete;

  void add_to(rpc::Methods& methods);

 private:
  JobRunner& runner_;
  RootOf root_of_;
};

}  // namespace sluice::agent
