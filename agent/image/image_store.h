#pragma once

#include <net/status.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/archive/root.h"
#include "agent/archive/stream.h"
#include "agent/image/image.h"
#include "agent/image/image_archive.h"
#include "agent/image/image_index.h"

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
///   staging/ID/         what is under way; locked by who works there, rubbish where nobody does
///   lock                who changes index.json, layers or configs
///
/// An import writes everything below staging, syncs the file system once, and only then, under the
/// lock, moves the layers to their places and replaces the index. So after a crash at any point
/// there is what there was before or what was to be, and what lies below staging, or is in no
/// index, is rubbish, which sweep() removes.
///
/// list() and find() read two small files and never wait; they may be called from the loop. All
/// others move gigabytes, sync, or wait for the lock: they are for workers. Several processes may
/// use one store at once.
class ImageStore {
 public:
  explicit ImageStore(std::string directory) : directory_(std::move(directory)) {}

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
  /// A name is taken away, and with the last one the image; an image of several names by its id
  /// only with force. `used`: ids of images that containers have, which stay. refused: it is used,
  /// or has several names.
  Result<Removed> remove(std::string_view name, Force force,
                         const std::set<std::string>& used) const;
  enum class Pruned { unnamed, unused };
  Result<Removed> prune(Pruned what, const std::set<std::string>& used) const;
  /// Removes what a crash, or a worker that was killed, has left.
  Status sweep() const;

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
  Result<Removed> drop(const ImageIndex& index, Removed removed, UniqueFd locked) const;

  std::string directory_;
};

}  // namespace sluice::agent
