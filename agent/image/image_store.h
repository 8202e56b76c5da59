#pragma once

#include <net/status.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/archive/root.h"
#include "agent/archive/stream.h"
#include "agent/image/image.h"
#include "agent/image/image_archive.h"
#include "agent/image/image_index.h"
#include "agent/image/image_users.h"

namespace sluice::agent {

/// What an import is told.
struct ImportOrder {
  enum class Kind { automatic, oci, docker, rootfs };
  Kind kind = Kind::automatic;
  std::string name;                      ///< In place of the archive's own; for one image.
  std::uint64_t max_bytes = UINT64_MAX;  ///< The archive and all layers, unpacked.
  std::string platform;                  ///< "linux/arm64"; empty: this machine's.
  ImageConfig config;                    ///< Of a root file system, which brings none.
};

/// Images on disk, content-addressed: a layer is there once, by the digest of its unpacked archive,
/// whichever images have it.
///
///   index.json          what images there are; its rename is the moment at which one is there
///   configs/HEX.json    their configurations, by digest
///   layers/HEX32/       fs/, a directory for overlayfs; layer.json. HEX32: half of the digest, so
///                       that the mount options of many layers fit into a page
///   used/CONTAINER      that a container has an image (ImageUsers)
///   staging/ID/         what is under way; locked by who works there, rubbish where nobody does
///   lock                who changes index.json, layers or configs
///
/// An import writes everything below staging, syncs the file system once, and only then, under the
/// lock, moves the layers to their places and replaces the index. So after a crash at any point
/// there is what there was before or what was to be, and what lies below staging, or is in no
/// index, is rubbish, which sweep() removes.
///
/// A container holds its image: it is removed by force or not at all, and what is removed by force
/// is found no more but keeps its layers until release() of the last such container and a sweep().
///
/// list(), find(), hold() and release() take a few small files and never wait; they may be called
/// from the loop. All others move gigabytes, sync, or wait for the lock: they are for workers.
/// Several processes may use one store at once.
class ImageStore {
 public:
  explicit ImageStore(std::string directory)
      : directory_(std::move(directory)), users_(directory_ + "/used") {}

  const std::string& directory() const { return directory_; }
  /// Whether anything was ever imported.
  bool exists() const;

  Result<std::vector<Image>> list() const;
  /// By name, id, or so many of the id's digits (4 at least) that they are of one image alone.
  /// not_found; invalid_argument where several begin with them.
  Result<Image> find(std::string_view name) const;

  /// The images that came of it. What is there already is not unpacked again. A name that another
  /// image has becomes the new one's. invalid_argument: the archive; exhausted: no space, or more
  /// than max_bytes; closed: stopped.
  Result<std::vector<Image>> import(Source& archive, const ImportOrder& order,
                                    const Stopped& stopped) const;

  struct Removed {
    std::vector<std::string> untagged;  ///< Names that are gone.
    std::vector<std::string> ids;       ///< Images that are gone.
    std::uint64_t bytes = 0;            ///< Of the layers that went with them.
  };
  enum class Force { no, yes };
  /// A name is taken away, and with the last one the image. refused, without force: containers have
  /// it, which the message names; or it is called by its id and has several names.
  Result<Removed> remove(std::string_view name, Force force) const;
  enum class Pruned { unnamed, unused };
  /// Images that containers have stay.
  Result<Removed> prune(Pruned what) const;
  /// Removes what a crash, or a worker that was killed, has left, and images that were removed
  /// while containers had them, and have none any more.
  Status sweep() const;

  /// A container comes to have an image, and keeps it until release(). not_found: the image has
  /// been removed meanwhile, and the container doesn't have it.
  Status hold(const ImageUser& user) const;
  void release(const std::string& container) const { users_.remove(container); }
  /// Whether it was removed and is kept for containers: after the last release() sweep() is due.
  bool is_removed(const std::string& id) const;

 private:
  /// A directory of one's own below staging, gone with this.
  class Staging;
  struct StagedLayer;

  std::string path(std::string_view name) const { return directory_ + "/" + std::string(name); }
  std::string layer_path(std::string_view diff_id) const;
  Result<ImageIndex> read_index() const;
  Status write_index(const ImageIndex& index) const;
  Result<Image> image_of(const IndexedImage& indexed) const;
  Result<const IndexedImage*> choose(const ImageIndex& index, std::string_view name) const;
  Status make_directories() const;
  Result<UniqueFd> lock() const;
  Result<Staging> stage() const;
  Result<std::uint64_t> layer_size(const std::string& diff_id) const;
  Result<std::vector<PlannedImage>> plan(const ImageArchive& archive,
                                         const ImportOrder& order) const;
  Result<std::vector<Image>> import_rootfs(Source& unpacked, const ImportOrder& order,
                                           Staging& staging, Allowance& allowance) const;
  Result<std::vector<Image>> import_planned(const std::vector<PlannedImage>& images, int archive,
                                            Staging& staging, Allowance& allowance) const;
  Result<StagedLayer> unpack(Source& packed, Staging& staging, Allowance& allowance,
                             bool may_be_cut_off) const;
  Result<bool> commit(const std::vector<PlannedImage>& images, std::vector<StagedLayer>& layers,
                      std::vector<Image>& imported) const;
  /// Moves what no image uses out of the way, under the lock; it is removed after that.
  Result<std::uint64_t> set_aside(const ImageIndex& index, Staging& staging) const;
  Result<Removed> drop(ImageIndex index, Removed removed, UniqueFd locked) const;
  /// Takes images that were removed, and that no container has, out of the index, and what belongs
  /// to none out of the way. The bytes of the layers that went.
  Result<std::uint64_t> collect(ImageIndex index, Staging& staging) const;

  std::string directory_;
  ImageUsers users_;
};

}  // namespace sluice::agent
