#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/archive/stream.h"
#include "agent/image/image_config.h"
#include "base/unique_fd.h"

namespace sluice::agent {

/// A layer as the archive has it: a part of the spooled file, packed or not.
struct LayerBlob {
  std::string diff_id;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

/// An image that the archive is to become.
struct PlannedImage {
  std::string id;
  std::string config;  ///< The file, as it is.
  ImageDescription description;
  std::vector<LayerBlob> layers;
  std::vector<std::string> names;
};

/// An archive of images on disk, unpacked once from how it was sent: its files may come in any
/// order, so that nothing can be done with them before the last has come. Of each file that can be
/// a part of an image the place and the digest are kept.
class ImageArchive {
 public:
  static constexpr std::size_t kMaxParts = 16384;
  static constexpr std::size_t kMaxJsonBytes = std::size_t{4} << 20;
  static constexpr std::size_t kMaxImages = 64;

  /// `file` is new and empty. Reads `archive`, an unpacked tar, to its end.
  static Result<ImageArchive> spool(Source& archive, UniqueFd file);

  bool is_oci() const { return parts_.count("oci-layout") > 0 && parts_.count("index.json") > 0; }
  bool is_docker() const { return parts_.count("manifest.json") > 0; }
  int fd() const { return file_.get(); }
  /// Of the archive as a whole.
  std::uint64_t bytes() const { return bytes_; }

  /// The images of an OCI archive for `platform`, all of them if there are several.
  /// invalid_argument: what is missing, damaged or not for the platform.
  Result<std::vector<PlannedImage>> plan_oci(const std::string& platform) const;
  /// The same of what `docker save` makes.
  Result<std::vector<PlannedImage>> plan_docker(const std::string& platform) const;

 private:
  struct Part {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::string digest;
    std::string link;  ///< Another part's path, in whose place this one stands.
  };
  struct Descriptor;

  const Part* find(const std::string& path) const;
  Result<std::string> load(const Part& part, const std::string& path) const;
  Result<const Part*> blob(const Descriptor& descriptor) const;
  Status plan_descriptor(const Descriptor& descriptor, const std::string& platform, int depth,
                         std::vector<PlannedImage>& images, std::string& others) const;
  Status plan_manifest(const std::string& json, const Descriptor& descriptor,
                       const std::string& platform, std::vector<PlannedImage>& images) const;

  UniqueFd file_;
  std::uint64_t bytes_ = 0;
  std::map<std::string, Part> parts_;
};

}  // namespace sluice::agent
