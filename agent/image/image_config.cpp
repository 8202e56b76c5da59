#include "agent/image/image_config.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include "agent/archive/sha256.h"
#include "agent/image/json.h"
#include "agent/os/text.h"

namespace sluice::agent {

namespace {

Status bad_config(std::string why) {
  return Status(StatusCode::invalid_argument, "the image's configuration: " + std::move(why));
}

ImageConfig config_of(const json_t* config) {
  ImageConfig parsed{.entrypoint = strings_of(member(config, "Entrypoint")),
                     .cmd = strings_of(member(config, "Cmd")),
                     .env = strings_of(member(config, "Env")),
                     .working_dir = string_member(config, "WorkingDir"),
                     .user = string_member(config, "User"),
                     .stop_signal = string_member(config, "StopSignal"),
                     .labels = {}};
  json_t* labels = const_cast<json_t*>(member(config, "Labels"));
  const char* name = nullptr;
  json_t* value = nullptr;
  json_object_foreach(labels, name, value) parsed.labels[name] = string_of(value);
  return parsed;
}

}  // namespace

Result<ImageDescription> parse_image_config(std::string_view json) {
  auto parsed = parse_json(json, "the image's configuration");
  if (!parsed) return parsed.status();
  const json_t* root = parsed->get();
  if (!json_is_object(root)) return bad_config("it is no object");
  ImageDescription description{.config = config_of(member(root, "config")),
                               .os = string_member(root, "os"),
                               .architecture = string_member(root, "architecture"),
                               .variant = string_member(root, "variant"),
                               .created = string_member(root, "created"),
                               .diff_ids = strings_of(member(member(root, "rootfs"), "diff_ids"))};
  if (description.diff_ids.size() > kMaxLayers) {
    return bad_config(
        fmt::format("{} layers; {} are the most", description.diff_ids.size(), kMaxLayers));
  }
  for (const std::string& diff_id : description.diff_ids) {
    if (!is_digest(diff_id)) return bad_config(fmt::format("'{}' is no sha256 digest", diff_id));
  }
  return description;
}

std::string make_image_config(const ImageDescription& description) {
  const ImageConfig& config = description.config;
  Json root(json_object());
  json_t* inner = json_object();
  auto put_strings = [inner](const char* name, const std::vector<std::string>& list) {
    if (!list.empty()) json_object_set_new(inner, name, new_strings(list));
  };
  auto put_string = [](json_t* object, const char* name, const std::string& text) {
    if (!text.empty()) json_object_set_new(object, name, new_string(text));
  };
  put_strings("Entrypoint", config.entrypoint);
  put_strings("Cmd", config.cmd);
  put_strings("Env", config.env);
  put_string(inner, "WorkingDir", config.working_dir);
  put_string(inner, "User", config.user);
  put_string(inner, "StopSignal", config.stop_signal);
  if (!config.labels.empty()) {
    json_t* labels = json_object();
    for (const auto& [name, value] : config.labels) {
      json_object_set_new(labels, name.c_str(), new_string(value));
    }
    json_object_set_new(inner, "Labels", labels);
  }
  json_object_set_new(root.get(), "config", inner);
  put_string(root.get(), "os", description.os);
  put_string(root.get(), "architecture", description.architecture);
  put_string(root.get(), "variant", description.variant);
  put_string(root.get(), "created", description.created);
  json_t* rootfs = json_object();
  json_object_set_new(rootfs, "type", new_string("layers"));
  json_object_set_new(rootfs, "diff_ids", new_strings(description.diff_ids));
  json_object_set_new(root.get(), "rootfs", rootfs);
  return text_of(root.get());
}

std::string own_platform() {
  utsname system{};
  ::uname(&system);
  std::string_view machine = static_cast<const char*>(system.machine);
  if (machine == "x86_64") machine = "amd64";
  if (machine == "aarch64") machine = "arm64";
  return fmt::format("linux/{}", machine);
}

bool is_platform(std::string_view platform, std::string_view os, std::string_view architecture,
                 std::string_view variant) {
  if (take_part(platform, '/') != os) return false;
  if (take_part(platform, '/') != architecture) return false;
  return platform.empty() || variant.empty() || platform == variant;
}

std::string normal_name(std::string_view name) {
  auto take_prefix = [&name](std::string_view prefix) {
    bool has_it = name.starts_with(prefix);
    if (has_it) name.remove_prefix(prefix.size());
    return has_it;
  };
  while (take_prefix("docker.io/") || take_prefix("index.docker.io/")) {
  }
  // The library has no folders: with one it is another name, which begins like that.
  constexpr std::string_view kLibrary = "library/";
  if (name.find('/') == kLibrary.size() - 1 && name.rfind('/') == kLibrary.size() - 1) {
    take_prefix(kLibrary);
  }
  for (char c : name) {
    bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                std::string_view(".-_/:").find(c) != std::string_view::npos;
    if (!fits) return "";
  }
  // A colon before the last slash is a registry's port.
  std::size_t slash = name.rfind('/');
  std::size_t last = slash == std::string_view::npos ? 0 : slash + 1;
  std::string_view tail = name.substr(last);
  if (tail.empty() || tail.starts_with(':') || tail.ends_with(':') || name.starts_with('/')) {
    return "";
  }
  std::string_view tag = tail.find(':') == std::string_view::npos ? ":latest" : "";
  if (name.size() + tag.size() > kMaxNameBytes) return "";
  return fmt::format("{}{}", name, tag);
}

}  // namespace sluice::agent
