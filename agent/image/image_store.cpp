#include "agent/image/image_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "agent/archive/sha256.h"
#include "agent/image/image_config.h"
#include "agent/image/json.h"
#include "agent/image/staging.h"
#include "agent/os/file.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMinIdDigits = 4;
constexpr std::size_t kLayerNameDigits = 32;
constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20;

/// Each name in a directory; none where it isn't there.
void for_each_in(const std::string& path, const std::function<void(const std::string&)>& visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), ::closedir);
  while (dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") visit(name);
  }
}

std::string short_name(std::string_view digest) {
  return std::string(digest_hex(digest).substr(0, kLayerNameDigits));
}

Status sync_path(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return os_error(errno, "fsync " + path);
  return Status::ok();
}

Result<UniqueFd> wait_for_lock(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return os_error(errno, "open " + path);
  // Held for moments; whoever is told to stop meanwhile notices afterwards.
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return os_error(errno, "lock " + path);
  }
  return fd;
}

}  // namespace

Result<ImageStore::Staging> ImageStore::Staging::make(const std::string& above) {
  std::string name = random_id();
  std::string path = above + "/" + name;
  if (::mkdir(path.c_str(), 0700) != 0) return os_error(errno, "mkdir " + path);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return os_error(errno, "lock " + path);
  return Staging(above, name, std::move(fd));
}

ImageStore::Staging::~Staging() {
  if (!lock_) return;
  UniqueFd directory(::open(above_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // What can't be removed is for the next sweep.
  if (directory) (void)remove_tree(directory.get(), name_).is_ok();
}

std::string ImageStore::layer_path(std::string_view diff_id) const {
  return path("layers/" + short_name(diff_id));
}

Status ImageStore::make_directories() const {
  for (const char* name : {"layers", "configs", "staging"}) {
    // Files of set-user-id are in there.
    if (Status status = agent::make_directories(path(name), 0700); !status) return status;
  }
  if (::chmod(directory_.c_str(), 0700) != 0) return os_error(errno, "chmod " + directory_);
  return Status::ok();
}

Result<UniqueFd> ImageStore::lock() const {
  return wait_for_lock(path("lock"));
}

Result<ImageStore::Staging> ImageStore::stage() const {
  // Under the lock, as a sweep would take a directory that is not locked yet for rubbish.
  auto locked = lock();
  if (!locked) return locked.status();
  return Staging::make(path("staging"));
}

Result<ImageIndex> ImageStore::read_index() const {
  auto text = read_file(path("index.json"), kMaxIndexBytes);
  if (text) return ImageIndex::parse(*text);
  if (errno == ENOENT) return ImageIndex{};
  return os_error(errno, "read " + path("index.json"));
}

Status ImageStore::write_index(const ImageIndex& index) const {
  std::string beside = path("index.json.new");
  Status status = write_file(beside, index.to_string(), 0600);
  if (status) status = sync_path(beside);
  if (status && ::rename(beside.c_str(), path("index.json").c_str()) != 0) {
    status = os_error(errno, "rename " + beside);
  }
  if (status) return sync_path(directory_);
  ::unlink(beside.c_str());
  return status;
}

Result<std::uint64_t> ImageStore::layer_size(const std::string& diff_id) const {
  auto text = read_file(layer_path(diff_id) + "/layer.json");
  if (!text) return os_error(errno, "read layer " + diff_id);
  auto json = parse_json(*text, "layer.json");
  if (!json) return json.status();
  if (string_member(json->get(), "diff_id") != diff_id) {
    return Status(StatusCode::internal,
                  fmt::format("another layer is in the place of {}", diff_id));
  }
  return number_of(member(json->get(), "size"));
}

Result<Image> ImageStore::image_of(const IndexedImage& indexed) const {
  auto text = read_file(path(fmt::format("configs/{}.json", digest_hex(indexed.id))),
                        ImageArchive::kMaxJsonBytes);
  if (!text) return os_error(errno, "read the configuration of " + indexed.id);
  auto description = parse_image_config(*text);
  if (!description) return description.status();
  Image image{.id = indexed.id,
              .names = indexed.names,
              .layers = {},
              .config = std::move(description->config),
              .architecture = std::move(description->architecture),
              .created = std::move(description->created),
              .size = indexed.size,
              .imported_at_ns = indexed.imported_at_ns};
  // overlayfs refuses a directory twice. The higher one has all that the lower one would do.
  std::set<std::string> seen;
  for (auto diff_id = indexed.diff_ids.rbegin(); diff_id != indexed.diff_ids.rend(); ++diff_id) {
    if (seen.insert(*diff_id).second) image.layers.push_back(layer_path(*diff_id) + "/fs");
  }
  std::reverse(image.layers.begin(), image.layers.end());
  return image;
}

Result<std::vector<Image>> ImageStore::list() const {
  auto index = read_index();
  if (!index) return index.status();
  std::vector<Image> images;
  for (const IndexedImage& indexed : index->images) {
    if (indexed.removed) continue;
    auto image = image_of(indexed);
    if (!image) return image.status();
    images.push_back(std::move(*image));
  }
  return images;
}

Result<const IndexedImage*> ImageStore::choose(const ImageIndex& index,
                                               std::string_view name) const {
  std::string normal = normal_name(name);
  for (const IndexedImage& image : index.images) {
    if (image.removed) continue;
    bool named = std::find(image.names.begin(), image.names.end(), normal) != image.names.end();
    if (named || image.id == name) return &image;
  }
  std::string_view digits = name.starts_with("sha256:") ? digest_hex(name) : name;
  const IndexedImage* found = nullptr;
  for (const IndexedImage& image : index.images) {
    if (image.removed || digits.size() < kMinIdDigits || !digest_hex(image.id).starts_with(digits))
      continue;
    if (found) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("the ids of several images begin with {}", name));
    }
    found = &image;
  }
  if (!found) return Status(StatusCode::not_found, fmt::format("there is no image {}", name));
  return found;
}

Result<Image> ImageStore::find(std::string_view name) const {
  auto index = read_index();
  if (!index) return index.status();
  auto chosen = choose(*index, name);
  if (!chosen) return chosen.status();
  return image_of(**chosen);
}

Result<ImageStore::Removed> ImageStore::remove(std::string_view name, Force force) const {
  auto refused = [name](const std::string& why) {
    return Status(StatusCode::refused, fmt::format("image {} {}", name, why));
  };
  if (Status status = make_directories(); !status) return status;
  auto locked = lock();
  if (!locked) return locked.status();
  auto index = read_index();
  if (!index) return index.status();
  auto chosen = choose(*index, name);
  if (!chosen) return chosen.status();
  IndexedImage& image = *index->find((*chosen)->id);
  Removed removed;
  std::string normal = normal_name(name);
  bool by_name = std::find(image.names.begin(), image.names.end(), normal) != image.names.end();
  if (!by_name && image.names.size() > 1 && force == Force::no) {
    return refused("has several names, and goes by its id only when forced");
  }
  if (by_name && image.names.size() > 1) {
    std::erase(image.names, normal);
    removed.untagged.push_back(normal);
    return drop(std::move(*index), std::move(removed), std::move(*locked));
  }
  auto users = users_.by_image();
  if (auto own = users.find(image.id); own != users.end() && force == Force::no) {
    std::string names;
    for (const std::string& user : own->second) names += (names.empty() ? "" : ", ") + user;
    return refused("is used by " + names);
  }
  removed.untagged = std::exchange(image.names, {});
  removed.ids.push_back(image.id);
  image.removed = true;
  return drop(std::move(*index), std::move(removed), std::move(*locked));
}

Result<ImageStore::Removed> ImageStore::prune(Pruned what) const {
  if (Status status = make_directories(); !status) return status;
  auto locked = lock();
  if (!locked) return locked.status();
  auto index = read_index();
  if (!index) return index.status();
  Removed removed;
  auto users = users_.by_image();
  for (IndexedImage& image : index->images) {
    bool goes = !image.removed && users.count(image.id) == 0 &&
                (what == Pruned::unused || image.names.empty());
    if (!goes) continue;
    removed.ids.push_back(image.id);
    removed.untagged.insert(removed.untagged.end(), image.names.begin(), image.names.end());
    image.names.clear();
    image.removed = true;
  }
  return drop(std::move(*index), std::move(removed), std::move(*locked));
}

/// Of two steps, as hold() waits for nobody: hold() makes its file and then looks into the index,
/// and here the index says that the image is removed before the files are looked at. So at least
/// one of both sees the other, and no container has an image whose layers are gone.
Result<ImageStore::Removed> ImageStore::drop(ImageIndex index, Removed removed,
                                             UniqueFd locked) const {
  if (Status status = write_index(index); !status) return status;
  auto staging = Staging::make(path("staging"));
  if (!staging) return staging.status();
  auto bytes = collect(std::move(index), *staging);
  if (!bytes) return bytes.status();
  removed.bytes = *bytes;
  // Removing it all, with `staging`, needs no lock.
  locked.reset();
  return removed;
}

/// The index goes first: a layer without an image is rubbish, an image without a layer is damage.
Result<std::uint64_t> ImageStore::collect(ImageIndex index, Staging& staging) const {
  auto users = users_.by_image();
  auto gone = std::erase_if(index.images, [&](const IndexedImage& image) {
    return image.removed && users.count(image.id) == 0;
  });
  if (gone > 0) {
    if (Status status = write_index(index); !status) return status;
  }
  return set_aside(index, staging);
}

Status ImageStore::hold(const ImageUser& user) const {
  if (Status status = users_.add(user); !status) return status;
  Status found = find(user.image).status();
  if (found.code() == StatusCode::not_found) release(user.container);
  return found;
}

bool ImageStore::is_removed(const std::string& id) const {
  auto index = read_index();
  const IndexedImage* image = index ? index->find(id) : nullptr;
  return image && image->removed;
}

bool ImageStore::exists() const {
  return ::access(directory_.c_str(), F_OK) == 0;
}

Status ImageStore::sweep() const {
  if (!exists()) return Status::ok();
  if (Status status = make_directories(); !status) return status;
  auto locked = lock();
  if (!locked) return locked.status();
  auto index = read_index();
  if (!index) return index.status();
  auto staging = Staging::make(path("staging"));
  if (!staging) return staging.status();
  ::unlink(path("index.json.new").c_str());
  for_each_in(path("staging"), [&](const std::string& name) {
    std::string left = path("staging/" + name);
    UniqueFd fd(::open(left.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return;  // Somebody works there.
    ::rename(left.c_str(), staging->next().c_str());
  });
  auto bytes = collect(std::move(*index), *staging);
  locked->reset();
  return bytes.status();
}

Result<std::uint64_t> ImageStore::set_aside(const ImageIndex& index, Staging& staging) const {
  std::set<std::string> layers;
  std::set<std::string> configs;
  for (const IndexedImage& image : index.images) {
    configs.insert(fmt::format("{}.json", digest_hex(image.id)));
    for (const std::string& diff_id : image.diff_ids) layers.insert(short_name(diff_id));
  }
  std::uint64_t bytes = 0;
  Status status;
  auto move = [&](const char* kind, const std::set<std::string>& kept) {
    for_each_in(path(kind), [&](const std::string& name) {
      if (kept.count(name) > 0) return;
      std::string from = fmt::format("{}/{}/{}", directory_, kind, name);
      if (auto text = read_file(from + "/layer.json")) {
        if (auto json = parse_json(*text, name)) bytes += number_of(member(json->get(), "size"));
      }
      if (::rename(from.c_str(), staging.next().c_str()) != 0 && status) {
        status = os_error(errno, "rename " + from);
      }
    });
  };
  move("layers", layers);
  move("configs", configs);
  if (!status) return status;
  return bytes;
}

}  // namespace sluice::agent
