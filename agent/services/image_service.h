#pragma once

#include <functional>
#include <set>
#include <string>

#include "agent/image/image_store.h"
#include "agent/rpc/call.h"
#include "agent/services/job_call.h"

namespace sluice::agent {

/// The service Image: what comes into the store and goes from it, each call a job of a worker. One
/// thread. Must outlive the connections whose calls it serves.
class ImageService {
 public:
  /// The ids of the images that containers have; asked as a call begins.
  using Used = std::function<std::set<std::string>()>;

  ImageService(JobRunner& runner, std::string directory, Used used = {})
      : runner_(runner), store_(std::move(directory)), used_(std::move(used)) {}
  ImageService(const ImageService&) = delete;
  ImageService& operator=(const ImageService&) = delete;

  void add_to(rpc::Methods& methods);
  /// Clears what a crash has left, beside the loop.
  void sweep();
  const ImageStore& store() const { return store_; }

 private:
  JobRunner& runner_;
  ImageStore store_;
  Used used_;
};

}  // namespace sluice::agent
