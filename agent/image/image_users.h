#pragma once

#include <net/status.h>

#include <map>
#include <set>
#include <string>

namespace sluice::agent {

/// A container that has an image.
struct ImageUser {
  std::string container;  ///< Its id.
  std::string name;
  std::string image;    ///< The image's id.
  std::string journal;  ///< A file that is there as long as the container is.
};

/// Who has which image: a file of the store for each container, written when it is made, so that
/// all who use the store see it and it outlives the agent. A file whose journal isn't there is of a
/// container that went with a crash, or with the boot whose /run it was in: it counts for nothing.
/// Its calls take microseconds, and any thread or process may make them.
class ImageUsers {
 public:
  explicit ImageUsers(std::string directory) : directory_(std::move(directory)) {}

  /// The journal is there already.
  Status add(const ImageUser& user) const;
  void remove(const std::string& container) const;
  /// The names of the containers, by the id of the image.
  std::map<std::string, std::set<std::string>> by_image() const;

 private:
  std::string directory_;
};

}  // namespace sluice::agent
