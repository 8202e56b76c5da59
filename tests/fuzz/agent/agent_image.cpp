// Any bytes as what an image archive says of itself: a configuration, the store's index, and, cut
// at each NUL, the files of an OCI layout and of docker's. Nothing that is read leads out of the
// store.

#include <sys/mman.h>

#include <string>
#include <vector>

#include "agent/archive/sha256.h"
#include "agent/archive/tar_writer.h"
#include "agent/image/image_archive.h"
#include "agent/image/image_config.h"
#include "agent/image/image_index.h"
#include "check.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

ConstBytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void check(const ImageDescription& image) {
  FUZZ_CHECK(image.diff_ids.size() <= kMaxLayers);
  for (const std::string& diff_id : image.diff_ids) FUZZ_CHECK(is_digest(diff_id));
}

void check(const Result<std::vector<PlannedImage>>& images, std::uint64_t archive_bytes) {
  if (!images) {
    FUZZ_CHECK(images.status().code() == StatusCode::invalid_argument);
    return;
  }
  for (const PlannedImage& image : *images) {
    FUZZ_CHECK(is_digest(image.id));
    check(image.description);
    FUZZ_CHECK(image.layers.size() == image.description.diff_ids.size());
    for (const LayerBlob& layer : image.layers) {
      FUZZ_CHECK(layer.offset + layer.size <= archive_bytes);
    }
    for (const std::string& name : image.names) FUZZ_CHECK(normal_name(name) == name);
  }
}

/// A digest stands where an input has "@N": that of its file N.
std::string with_digests(std::string text, const std::vector<std::string>& digests) {
  for (std::size_t at = text.find('@'); at != std::string::npos && at + 1 < text.size();
       at = text.find('@', at + 1)) {
    std::size_t number = static_cast<std::size_t>(text[at + 1] - '0');
    if (number < digests.size()) text.replace(at, 2, digests[number]);
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  if (auto image = parse_image_config(text)) {
    check(*image);
    auto again = parse_image_config(make_image_config(*image));
    FUZZ_CHECK(again && again->diff_ids == image->diff_ids);
    FUZZ_CHECK(again->config.env == image->config.env);
  }
  if (auto index = ImageIndex::parse(text)) {
    auto again = ImageIndex::parse(index->to_string());
    FUZZ_CHECK(again && again->images.size() == index->images.size());
  }
  if (std::string name = normal_name(text); !name.empty()) FUZZ_CHECK(normal_name(name) == name);

  StringSink archive;
  TarWriter writer(archive);
  std::vector<std::string> digests;
  auto add = [&](const std::string& path, const std::string& content) {
    TarEntry entry;
    entry.path = path;
    entry.size = content.size();
    FUZZ_CHECK(writer.add(entry) && writer.write(bytes_of(content)));
  };
  add("oci-layout", "{}");
  for (std::size_t begin = 0; begin <= text.size() && digests.size() < 8;) {
    std::size_t end = std::min(text.find('\0', begin), text.size());
    std::string content = with_digests(text.substr(begin, end - begin), digests);
    Sha256 hash;
    hash.update(bytes_of(content));
    digests.push_back(hash.digest());
    add("blobs/sha256/" + digests.back().substr(7), content);
    // The last one is what is read first.
    if (end == text.size()) {
      add("index.json", content);
      add("manifest.json", content);
    }
    begin = end + 1;
  }
  FUZZ_CHECK(writer.finish());
  MemorySource source(bytes_of(archive.text));
  auto spooled = ImageArchive::spool(source, UniqueFd(::memfd_create("fuzz", MFD_CLOEXEC)));
  FUZZ_CHECK(spooled);
  check(spooled->plan_oci("linux/amd64"), spooled->bytes());
  check(spooled->plan_docker("linux/amd64"), spooled->bytes());
  return 0;
}
