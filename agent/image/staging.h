#pragma once

#include <string>

#include "agent/image/image_store.h"
#include "base/unique_fd.h"

namespace sluice::agent {

class ImageStore::Staging {
 public:
  /// Locks it, so that a sweep leaves it alone.
  static Result<Staging> make(const std::string& above);
  Staging(Staging&& other) noexcept = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging();

  /// A path in it that nothing has yet.
  std::string next() { return path_ + "/" + std::to_string(++made_); }

 private:
  Staging(std::string above, std::string name, UniqueFd lock)
      : above_(std::move(above)),
        name_(std::move(name)),
        path_(above_ + "/" + name_),
        lock_(std::move(lock)) {}

  std::string above_;
  std::string name_;
  std::string path_;
  UniqueFd lock_;
  int made_ = 0;
};

/// A layer that was unpacked, and is not yet in its place.
struct ImageStore::StagedLayer {
  std::string diff_id;
  std::uint64_t size = 0;
  std::string path;
};

}  // namespace sluice::agent
