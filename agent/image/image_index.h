#pragma once

#include <net/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::agent {

/// An image as the store's index has it.
struct IndexedImage {
  std::string id;  ///< The digest of its configuration.
  std::vector<std::string> names;
  std::vector<std::string> diff_ids;
  std::uint64_t size = 0;
  std::int64_t imported_at_ns = 0;
  bool removed = false;  ///< Nobody finds it; it is here for the containers that have it.
};

/// What the store has: the one file by which an image is there or not. Replaced as a whole.
struct ImageIndex {
  std::vector<IndexedImage> images;

  IndexedImage* find(const std::string& id);
  /// Nobody else has the name any more.
  void take_name(const std::string& name);
  bool uses(const std::string& diff_id) const;

  static Result<ImageIndex> parse(const std::string& text);
  std::string to_string() const;
};

}  // namespace sluice::agent
