#include "agent/image/image_archive.h"

#include <fmt/format.h>
#include <sys/types.h>

#include <algorithm>

#include "agent/archive/root.h"
#include "agent/archive/sha256.h"
#include "agent/archive/tar_reader.h"
#include "agent/image/json.h"

namespace sluice::agent {

namespace {

constexpr int kMaxNesting = 4;
constexpr int kMaxLinks = 8;
constexpr const char* kContainerdName = "io.containerd.image.name";
constexpr const char* kReferenceName = "org.opencontainers.image.ref.name";
constexpr const char* kReferenceType = "vnd.docker.reference.type";

/// Writes down what passes.
class TeeSource final : public Source {
 public:
  TeeSource(Source& below, int fd) : below_(below), sink_(fd) {}
  Result<std::size_t> read(Bytes into) override {
    auto got = below_.read(into);
    if (!got) return got;
    if (Status status = sink_.write(into.first(*got)); !status) return status;
    bytes_ += *got;
    return got;
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Source& below_;
  FdSink sink_;
  std::uint64_t bytes_ = 0;
};

std::string joined(const SplitPath& path) {
  return path.above.empty() ? path.name : path.above + "/" + path.name;
}

/// Whether an archive of images may have it as a part. A root file system may, too.
bool may_be_part(const std::string& path) {
  constexpr std::size_t kMostBytes = 256;
  if (path.size() > kMostBytes) return false;
  return path.find('/') == std::string::npos || path.starts_with("blobs/") ||
         path.ends_with("/layer.tar");
}

/// Where a link of `path` leads within the archive, as a path.
std::string target_of(const std::string& path, const std::string& link) {
  std::vector<std::string> parts;
  auto add = [&parts](std::string_view rest) {
    while (!rest.empty()) {
      std::string part(rest.substr(0, rest.find('/')));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      if (part == ".." && !parts.empty()) parts.pop_back();
      if (!part.empty() && part != "." && part != "..") parts.push_back(std::move(part));
    }
  };
  if (!link.starts_with('/')) add(split_path(path).above);
  add(link);
  return fmt::format("{}", fmt::join(parts, "/"));
}

void add_name(std::vector<std::string>& names, std::string_view name) {
  std::string normal = normal_name(name);
  if (!normal.empty() && std::find(names.begin(), names.end(), normal) == names.end()) {
    names.push_back(std::move(normal));
  }
}

/// Of an entry of an OCI index. A reference is a name with some tools, and only a tag with others,
/// of which "latest" is the one that surely is no name.
std::vector<std::string> names_of(const json_t* annotations) {
  std::vector<std::string> names;
  add_name(names, string_member(annotations, kContainerdName));
  std::string reference = string_member(annotations, kReferenceName);
  if (names.empty() && reference != "latest") add_name(names, reference);
  return names;
}

Status check_platform(const ImageDescription& image, const std::string& platform) {
  if (image.architecture.empty() || is_platform(platform, image.os.empty() ? "linux" : image.os,
                                                image.architecture, image.variant)) {
    return Status::ok();
  }
  return Status::invalid_argument(fmt::format("the image is for {}/{}, and not for {}", image.os,
                                              image.architecture, platform));
}

}  // namespace

struct ImageArchive::Descriptor {
  explicit Descriptor(const json_t* json)
      : digest(string_member(json, "digest")),
        size(number_of(member(json, "size"))),
        annotations(member(json, "annotations")),
        platform(member(json, "platform")) {}

  std::string digest;
  std::uint64_t size;
  const json_t* annotations;
  const json_t* platform;
};

Result<ImageArchive> ImageArchive::spool(Source& archive, UniqueFd file) {
  ImageArchive made;
  made.file_ = std::move(file);
  TeeSource tee(archive, made.file_.get());
  TarReader reader(tee);
  std::vector<std::uint8_t> piece(kPieceBytes);
  for (;;) {
    auto entry = reader.next();
    if (!entry) return entry.status();
    if (!*entry) break;
    const TarEntry& file_entry = **entry;
    std::string path = joined(split_path(file_entry.path));
    if (made.parts_.size() == kMaxParts || !may_be_part(path)) continue;
    Part part;
    if (file_entry.type == TarEntry::Type::file) {
      part.offset = tee.bytes();
      part.size = file_entry.size;
      Sha256 hash;
      for (;;) {
        auto got = reader.read(piece);
        if (!got) return got.status();
        if (*got == 0) break;
        hash.update(ConstBytes(piece).first(*got));
      }
      part.digest = hash.digest();
    } else if (file_entry.type == TarEntry::Type::symlink) {
      part.link = target_of(path, file_entry.link);
    } else if (file_entry.type == TarEntry::Type::hard_link) {
      part.link = joined(split_path(file_entry.link));
    } else {
      continue;
    }
    made.parts_[path] = std::move(part);
  }
  // What follows the end mark belongs to the digest of a layer, if it is one.
  if (Status status = drain(tee); !status) return status;
  made.bytes_ = tee.bytes();
  return made;
}

const ImageArchive::Part* ImageArchive::find(const std::string& path) const {
  std::string at = path;
  for (int links = 0; links < kMaxLinks; ++links) {
    auto found = parts_.find(at);
    if (found == parts_.end()) return nullptr;
    if (found->second.link.empty()) return &found->second;
    at = found->second.link;
  }
  return nullptr;
}

Result<std::string> ImageArchive::load(const Part& part, const std::string& path) const {
  if (part.size > kMaxJsonBytes)
    return Status::invalid_argument(fmt::format("{} is too large", path));
  std::string text(part.size, '\0');
  FileRangeSource source(file_.get(), part.offset, part.size);
  Status status = read_exactly(source, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()},
                               "a file of it");
  if (!status) return status;
  return text;
}

Result<const ImageArchive::Part*> ImageArchive::blob(const Descriptor& descriptor) const {
  if (!is_digest(descriptor.digest)) {
    return Status::invalid_argument(fmt::format("'{}' is no sha256 digest", descriptor.digest));
  }
  const Part* part = find(fmt::format("blobs/sha256/{}", digest_hex(descriptor.digest)));
  if (!part) return Status::invalid_argument(fmt::format("blob {} is missing", descriptor.digest));
  if (part->digest != descriptor.digest) {
    return Status::invalid_argument(
        fmt::format("blob {} is damaged: its digest is {}", descriptor.digest, part->digest));
  }
  if (part->size != descriptor.size) {
    return Status::invalid_argument(fmt::format("blob {} has {} bytes, and not {}",
                                                descriptor.digest, part->size, descriptor.size));
  }
  return part;
}

Result<std::vector<PlannedImage>> ImageArchive::plan_oci(const std::string& platform) const {
  const Part* part = find("index.json");
  if (!part) return Status::invalid_argument("index.json is missing");
  auto text = load(*part, "index.json");
  if (!text) return text.status();
  auto json = parse_json(*text, "index.json");
  if (!json) return json.status();
  const json_t* manifests = member(json->get(), "manifests");
  if (json_array_size(manifests) > kMaxImages)
    return Status::invalid_argument("index.json lists too many images");
  std::vector<PlannedImage> images;
  std::string others;
  for (std::size_t i = 0; i < json_array_size(manifests); ++i) {
    Descriptor descriptor(json_array_get(manifests, i));
    Status status = plan_descriptor(descriptor, platform, 0, images, others);
    if (!status) return status;
  }
  if (images.empty()) {
    return Status::invalid_argument(fmt::format("there is no image for {} in it{}{}", platform,
                                                others.empty() ? "" : ", but for", others));
  }
  return images;
}

/// One image at most of each entry of the index: where it is an index again, the first that fits.
Status ImageArchive::plan_descriptor(const Descriptor& descriptor, const std::string& platform,
                                     int depth, std::vector<PlannedImage>& images,
                                     std::string& others) const {
  if (depth > kMaxNesting) return Status::invalid_argument("its indexes are nested too deep");
  // Attestations and the like are no images.
  if (member(descriptor.annotations, kReferenceType)) return Status::ok();
  if (descriptor.platform) {
    std::string os = string_member(descriptor.platform, "os");
    std::string architecture = string_member(descriptor.platform, "architecture");
    if (!is_platform(platform, os, architecture, string_member(descriptor.platform, "variant"))) {
      others += fmt::format(" {}/{}", os, architecture);
      return Status::ok();
    }
  }
  auto part = blob(descriptor);
  if (!part) return part.status();
  auto text = load(**part, descriptor.digest);
  if (!text) return text.status();
  auto json = parse_json(*text, descriptor.digest);
  if (!json) return json.status();
  const json_t* manifests = member(json->get(), "manifests");
  if (!manifests) return plan_manifest(*text, descriptor, platform, images);
  if (json_array_size(manifests) > kMaxImages)
    return Status::invalid_argument("an index lists too many images");
  std::size_t before = images.size();
  for (std::size_t i = 0; i < json_array_size(manifests) && images.size() == before; ++i) {
    Status status = plan_descriptor(Descriptor(json_array_get(manifests, i)), platform, depth + 1,
                                    images, others);
    if (!status) return status;
  }
  if (images.size() > before) {
    for (std::string& name : names_of(descriptor.annotations)) {
      add_name(images.back().names, name);
    }
  }
  return Status::ok();
}

Status ImageArchive::plan_manifest(const std::string& json, const Descriptor& descriptor,
                                   const std::string& platform,
                                   std::vector<PlannedImage>& images) const {
  auto manifest = parse_json(json, descriptor.digest);
  if (!manifest) return manifest.status();
  Descriptor config(member(manifest->get(), "config"));
  const json_t* layers = member(manifest->get(), "layers");
  if (!json_is_array(layers))
    return Status::invalid_argument(fmt::format("{} is no manifest", descriptor.digest));
  auto part = blob(config);
  if (!part) return part.status();
  auto text = load(**part, config.digest);
  if (!text) return text.status();
  auto description = parse_image_config(*text);
  if (!description) return description.status();
  if (!descriptor.platform) {
    if (Status status = check_platform(*description, platform); !status) return status;
  }
  if (json_array_size(layers) != description->diff_ids.size()) {
    return Status::invalid_argument(
        fmt::format("the manifest has {} layers, and the configuration {}", json_array_size(layers),
                    description->diff_ids.size()));
  }
  PlannedImage image{.id = config.digest,
                     .config = std::move(*text),
                     .description = std::move(*description),
                     .layers = {},
                     .names = names_of(descriptor.annotations)};
  for (std::size_t i = 0; i < json_array_size(layers); ++i) {
    auto layer = blob(Descriptor(json_array_get(layers, i)));
    if (!layer) return layer.status();
    image.layers.push_back({.diff_id = image.description.diff_ids[i],
                            .offset = (*layer)->offset,
                            .size = (*layer)->size});
  }
  images.push_back(std::move(image));
  return Status::ok();
}

Result<std::vector<PlannedImage>> ImageArchive::plan_docker(const std::string& platform) const {
  const Part* part = find("manifest.json");
  if (!part) return Status::invalid_argument("manifest.json is missing");
  auto manifest_text = load(*part, "manifest.json");
  if (!manifest_text) return manifest_text.status();
  auto json = parse_json(*manifest_text, "manifest.json");
  if (!json) return json.status();
  if (!json_is_array(json->get())) return Status::invalid_argument("manifest.json is no list");
  if (json_array_size(json->get()) > kMaxImages)
    return Status::invalid_argument("manifest.json lists too many images");
  std::vector<PlannedImage> images;
  for (std::size_t i = 0; i < json_array_size(json->get()); ++i) {
    const json_t* one = json_array_get(json->get(), i);
    std::string path = joined(split_path(string_member(one, "Config")));
    const Part* config = find(path);
    if (!config)
      return Status::invalid_argument(fmt::format("the configuration '{}' is missing", path));
    // Its name is its digest, with most tools.
    std::string name = split_path(path).name;
    std::string said = "sha256:" + name.substr(0, name.find('.'));
    if (is_digest(said) && said != config->digest) {
      return Status::invalid_argument(
          fmt::format("'{}' is damaged: its digest is {}", path, config->digest));
    }
    auto text = load(*config, path);
    if (!text) return text.status();
    auto description = parse_image_config(*text);
    if (!description) return description.status();
    if (Status status = check_platform(*description, platform); !status) return status;
    std::vector<std::string> layers = strings_of(member(one, "Layers"));
    if (layers.size() != description->diff_ids.size()) {
      return Status::invalid_argument(
          fmt::format("the manifest has {} layers, and the configuration {}", layers.size(),
                      description->diff_ids.size()));
    }
    PlannedImage image{.id = config->digest,
                       .config = std::move(*text),
                       .description = std::move(*description),
                       .layers = {},
                       .names = {}};
    for (const std::string& name_and_tag : strings_of(member(one, "RepoTags"))) {
      add_name(image.names, name_and_tag);
    }
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      const Part* blob = find(joined(split_path(layers[layer])));
      if (!blob)
        return Status::invalid_argument(fmt::format("the layer '{}' is missing", layers[layer]));
      image.layers.push_back({.diff_id = image.description.diff_ids[layer],
                              .offset = blob->offset,
                              .size = blob->size});
    }
    images.push_back(std::move(image));
  }
  if (images.empty()) return Status::invalid_argument("manifest.json lists no image");
  return images;
}

}  // namespace sluice::agent
