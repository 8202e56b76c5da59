// What ImageStore does with an archive that comes in.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <set>

#include "agent/archive/decompress.h"
#include "agent/archive/extract.h"
#include "agent/archive/sha256.h"
#include "agent/image/image_config.h"
#include "agent/image/image_store.h"
#include "agent/image/json.h"
#include "agent/image/staging.h"
#include "agent/os/clock.h"
#include "agent/os/file.h"

namespace sluice::agent {

namespace {

/// Layers that somebody removed since we saw them are unpacked anew, this often.
constexpr int kMaxCommits = 4;

Status sync_file_system(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::syncfs(fd.get()) != 0) return os_error(errno, "syncfs " + path);
  return Status::ok();
}

bool is_there(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace

Result<std::vector<Image>> ImageStore::import(Source& archive, const ImportOrder& order,
                                              const Stopped& stopped) const {
  if (!order.name.empty() && normal_name(order.name).empty()) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("'{}' is no name of an image", order.name));
  }
  if (Status status = make_directories(); !status) return status;
  auto staging = stage();
  if (!staging) return staging.status();
  Allowance allowance(order.max_bytes, stopped);
  auto unpacked = decompressed(archive);
  if (!unpacked) return unpacked.status();
  MeteredSource metered(**unpacked, allowance);
  if (order.kind == ImportOrder::Kind::rootfs) {
    return import_rootfs(metered, order, *staging, allowance);
  }

  UniqueFd file(::open(staging->next().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return os_error(errno, "create a file in " + path("staging"));
  auto spooled = ImageArchive::spool(metered, std::move(file));
  if (!spooled) return spooled.status();
  bool is_images = spooled->is_oci() || spooled->is_docker();
  if (order.kind == ImportOrder::Kind::automatic && !is_images) {
    FileRangeSource again(spooled->fd(), 0, spooled->bytes());
    return import_rootfs(again, order, *staging, allowance);
  }
  auto images = plan(*spooled, order);
  if (!images) return images.status();
  return import_planned(*images, spooled->fd(), *staging, allowance);
}

Result<std::vector<PlannedImage>> ImageStore::plan(const ImageArchive& archive,
                                                   const ImportOrder& order) const {
  std::string platform = order.platform.empty() ? own_platform() : order.platform;
  // What is both is what `docker save` makes today, and the same images.
  bool as_oci = order.kind == ImportOrder::Kind::oci ||
                (order.kind == ImportOrder::Kind::automatic && archive.is_oci());
  auto images = as_oci ? archive.plan_oci(platform) : archive.plan_docker(platform);
  if (!images || order.name.empty()) return images;
  if (images->size() != 1) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("a name is for one image, and there are {}", images->size()));
  }
  images->front().names = {normal_name(order.name)};
  return images;
}

Result<ImageStore::StagedLayer> ImageStore::unpack(Source& packed, Staging& staging,
                                                   Allowance& allowance,
                                                   bool may_be_cut_off) const {
  StagedLayer layer;
  layer.path = staging.next();
  std::string files = layer.path + "/fs";
  if (::mkdir(layer.path.c_str(), 0700) != 0 || ::mkdir(files.c_str(), 0755) != 0 ||
      ::chmod(files.c_str(), 0755) != 0) {
    return os_error(errno, "mkdir " + files);
  }
  auto root = Root::open(files);
  if (!root) return root.status();
  auto unpacked = decompressed(packed);
  if (!unpacked) return unpacked.status();
  MeteredSource metered(**unpacked, allowance);
  HashingSource hashing(metered);
  TarReader reader(hashing,
                   may_be_cut_off ? TarReader::EndMark::required : TarReader::EndMark::optional);
  Status status =
      extract(reader, *root, {.is_layer = true, .devices = true, .replaces_directories = true});
  // The digest is of all of it, what follows the end mark too.
  if (status) status = drain(hashing);
  if (!status) return status;
  layer.diff_id = hashing.digest();
  layer.size = hashing.bytes();
  Json json(json_object());
  json_object_set_new(json.get(), "diff_id", new_string(layer.diff_id));
  json_object_set_new(json.get(), "size", json_integer(static_cast<json_int_t>(layer.size)));
  status = write_file(layer.path + "/layer.json", text_of(json.get()), 0600);
  if (!status) return status;
  return layer;
}

Result<std::vector<Image>> ImageStore::import_rootfs(Source& unpacked, const ImportOrder& order,
                                                     Staging& staging, Allowance& allowance) const {
  auto layer = unpack(unpacked, staging, allowance, true);
  if (!layer) return layer.status();
  std::string platform = order.platform.empty() ? own_platform() : order.platform;
  PlannedImage image;
  image.description.config = order.config;
  image.description.os = platform.substr(0, platform.find('/'));
  image.description.architecture =
      platform.substr(std::min(platform.size(), platform.find('/') + 1));
  image.description.diff_ids = {layer->diff_id};
  image.config = make_image_config(image.description);
  Sha256 hash;
  hash.update({reinterpret_cast<const std::uint8_t*>(image.config.data()), image.config.size()});
  image.id = hash.digest();
  if (!order.name.empty()) image.names = {normal_name(order.name)};
  if (Status status = sync_file_system(directory_); !status) return status;
  std::vector<StagedLayer> layers{std::move(*layer)};
  std::vector<Image> imported;
  auto done = commit({std::move(image)}, layers, imported);
  if (!done) return done.status();
  return imported;
}

Result<std::vector<Image>> ImageStore::import_planned(const std::vector<PlannedImage>& images,
                                                      int archive, Staging& staging,
                                                      Allowance& allowance) const {
  std::vector<StagedLayer> staged;
  for (int tries = 0; tries < kMaxCommits; ++tries) {
    bool unpacked_any = tries == 0;
    for (const PlannedImage& image : images) {
      for (const LayerBlob& blob : image.layers) {
        bool is_staged = std::any_of(staged.begin(), staged.end(), [&](const StagedLayer& layer) {
          return layer.diff_id == blob.diff_id;
        });
        if (is_staged || is_there(layer_path(blob.diff_id))) continue;
        FileRangeSource packed(archive, blob.offset, blob.size);
        auto layer = unpack(packed, staging, allowance, false);
        if (!layer) {
          return Status(layer.status().code(),
                        fmt::format("layer {}: {}", blob.diff_id, layer.status().message()));
        }
        if (layer->diff_id != blob.diff_id) {
          return Status(
              StatusCode::invalid_argument,
              fmt::format("layer {} is damaged: its digest is {}", blob.diff_id, layer->diff_id));
        }
        staged.push_back(std::move(*layer));
        unpacked_any = true;
      }
    }
    if (unpacked_any) {
      if (Status status = sync_file_system(directory_); !status) return status;
    }
    std::vector<Image> imported;
    auto done = commit(images, staged, imported);
    if (!done) return done.status();
    if (*done) return imported;
  }
  return Status(StatusCode::exhausted, "its layers are removed by somebody all the time");
}

/// Under the lock: layers, configurations, index. False: a layer is not there any more.
Result<bool> ImageStore::commit(const std::vector<PlannedImage>& images,
                                std::vector<StagedLayer>& layers,
                                std::vector<Image>& imported) const {
  auto locked = lock();
  if (!locked) return locked.status();
  auto index = read_index();
  if (!index) return index.status();
  // Before anything is moved: under the lock nothing goes away any more.
  for (const PlannedImage& image : images) {
    for (const std::string& diff_id : image.description.diff_ids) {
      bool is_staged = std::any_of(layers.begin(), layers.end(), [&](const StagedLayer& layer) {
        return layer.diff_id == diff_id;
      });
      if (!is_staged && !is_there(layer_path(diff_id))) return false;
    }
  }
  for (const StagedLayer& layer : layers) {
    std::string place = layer_path(layer.diff_id);
    // Somebody else may have been first with the same.
    if (!is_there(place) && ::rename(layer.path.c_str(), place.c_str()) != 0) {
      return os_error(errno, "rename to " + place);
    }
  }
  std::vector<IndexedImage> added;
  for (const PlannedImage& image : images) {
    IndexedImage entry{.id = image.id,
                       .names = image.names,
                       .diff_ids = image.description.diff_ids,
                       .size = 0,
                       .imported_at_ns = clock_ns(CLOCK_REALTIME)};
    std::set<std::string> counted;
    for (const std::string& diff_id : entry.diff_ids) {
      auto size = layer_size(diff_id);
      if (!size) return size.status();
      if (counted.insert(diff_id).second) entry.size += *size;
    }
    std::string config = path(fmt::format("configs/{}.json", digest_hex(image.id)));
    // Even where it is there: a power cut may have left it empty.
    Status status = replace_file(config, image.config, 0600);
    UniqueFd fd(::open(config.c_str(), O_RDONLY | O_CLOEXEC));
    if (status && (!fd || ::fsync(fd.get()) != 0)) status = os_error(errno, "fsync " + config);
    if (!status) return status;
    added.push_back(std::move(entry));
  }
  for (const char* name : {"layers", "configs"}) {
    UniqueFd fd(::open(path(name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) return os_error(errno, "fsync " + path(name));
  }
  for (IndexedImage& entry : added) {
    for (const std::string& name : entry.names) index->take_name(name);
    if (IndexedImage* there = index->find(entry.id)) {
      // The same again: it keeps the names that it has.
      there->removed = false;
      there->names.insert(there->names.end(), entry.names.begin(), entry.names.end());
    } else {
      index->images.push_back(std::move(entry));
    }
  }
  if (Status status = write_index(*index); !status) return status;
  for (const PlannedImage& image : images) {
    auto made = image_of(*index->find(image.id));
    if (!made) return made.status();
    imported.push_back(std::move(*made));
  }
  return true;
}

}  // namespace sluice::agent
