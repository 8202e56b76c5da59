#include "agent/image/image_index.h"

#include <algorithm>

#include "agent/archive/sha256.h"
#include "agent/image/json.h"

namespace sluice::agent {

IndexedImage* ImageIndex::find(const std::string& id) {
  for (IndexedImage& image : images) {
    if (image.id == id) return &image;
  }
  return nullptr;
}

void ImageIndex::take_name(const std::string& name) {
  for (IndexedImage& image : images) std::erase(image.names, name);
}

bool ImageIndex::uses(const std::string& diff_id) const {
  return std::any_of(images.begin(), images.end(), [&](const IndexedImage& image) {
    return std::find(image.diff_ids.begin(), image.diff_ids.end(), diff_id) != image.diff_ids.end();
  });
}

Result<ImageIndex> ImageIndex::parse(const std::string& text) {
  auto root = parse_json(text, "the image store's index");
  if (!root) return Status(StatusCode::internal, root.status().message());
  const json_t* list = member(root->get(), "images");
  if (!json_is_array(list)) return Status(StatusCode::internal, "the image store has no index");
  ImageIndex index;
  for (std::size_t i = 0; i < json_array_size(list); ++i) {
    const json_t* one = json_array_get(list, i);
    IndexedImage image{
        .id = string_member(one, "id"),
        .names = strings_of(member(one, "names")),
        .diff_ids = strings_of(member(one, "diff_ids")),
        .size = number_of(member(one, "size")),
        .imported_at_ns = static_cast<std::int64_t>(number_of(member(one, "imported_at_ns"))),
        .removed = json_is_true(member(one, "removed"))};
    // They become paths.
    bool fits = is_digest(image.id);
    for (const std::string& diff_id : image.diff_ids) fits = fits && is_digest(diff_id);
    if (!fits) return Status(StatusCode::internal, "the image store's index is damaged");
    index.images.push_back(std::move(image));
  }
  return index;
}

std::string ImageIndex::to_string() const {
  Json root(json_object());
  json_object_set_new(root.get(), "version", json_integer(1));
  json_t* list = json_array();
  for (const IndexedImage& image : images) {
    json_t* one = json_object();
    json_object_set_new(one, "id", new_string(image.id));
    json_object_set_new(one, "names", new_strings(image.names));
    json_object_set_new(one, "diff_ids", new_strings(image.diff_ids));
    json_object_set_new(one, "size", json_integer(static_cast<json_int_t>(image.size)));
    json_object_set_new(one, "imported_at_ns", json_integer(image.imported_at_ns));
    if (image.removed) json_object_set_new(one, "removed", json_true());
    json_array_append_new(list, one);
  }
  json_object_set_new(root.get(), "images", list);
  return text_of(root.get());
}

}  // namespace sluice::agent
