#include "agent/image/image_users.h"

#include <dirent.h>
#include <unistd.h>

#include <memory>

#include "agent/image/json.h"
#include "agent/os/file.h"

namespace sluice::agent {

Status ImageUsers::add(const ImageUser& user) const {
  if (Status status = make_directories(directory_, 0700); !status) return status;
  Json root(json_object());
  json_object_set_new(root.get(), "name", new_string(user.name));
  json_object_set_new(root.get(), "image", new_string(user.image));
  json_object_set_new(root.get(), "journal", new_string(user.journal));
  return replace_file(directory_ + "/" + user.container, text_of(root.get()), 0600);
}

void ImageUsers::remove(const std::string& container) const {
  ::unlink((directory_ + "/" + container).c_str());
}

std::map<std::string, std::set<std::string>> ImageUsers::by_image() const {
  std::map<std::string, std::set<std::string>> users;
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory_.c_str()), ::closedir);
  while (dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    std::string path = directory_ + "/" + entry->d_name;
    auto text = read_file(path);
    auto json = parse_json(text.value_or(""), path);
    if (!json) continue;
    if (::access(string_member(json->get(), "journal").c_str(), F_OK) != 0) {
      ::unlink(path.c_str());
      continue;
    }
    users[string_member(json->get(), "image")].insert(string_member(json->get(), "name"));
  }
  return users;
}

}  // namespace sluice::agent
