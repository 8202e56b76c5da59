#pragma once

#include <string>

#include "agent/image/image_store.h"
#include "agent/rpc/call.h"
#include "agent/services/job_call.h"

namespace sluice::agent {

/// The service Image: what comes into the store and goes from it, each call a job of a worker. One
/// thread. Must outlive the connections whose calls it serves.
class ImageService {
 public:
  ImageService(JobRunner& runner, std::string directory)
      : runner_(runner), store_(std::move(directory)) {}
  ImageService(const ImageService&) = delete;
  ImageService& operator=(const ImageService&) = delete;

  void add_to(rpc::Methods& methods);
  /// Clears what a crash has left, beside the loop.
  void sweep();
  /// A container has gone: what was kept of its image for it alone goes too, beside the loop.
  void release(const std::string& container, const std::string& image);
  const ImageStore& store() const { return store_; }

 private:
  JobRunner& runner_;
  ImageStore store_;
};

}  // namespace sluice::agent
