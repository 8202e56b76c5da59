#include "agent/container/containers.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/prctl.h>

#include <algorithm>

#include "agent/container/rootfs.h"
#include "agent/os/file.h"
#include "base/log.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMostContainers = 1024;

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), ::closedir);
  while (dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    if (is_container_name(entry->d_name)) names.emplace_back(entry->d_name);
  }
  return names;
}

}  // namespace

Containers::Containers(Loop& loop, Children& children, ContainerOptions options, Images images)
    : world_{.loop = loop,
             .children = children,
             .runtime = Runtime(options.runtime, options.state + "/runtime"),
             .state = options.state + "/containers",
             .data = options.data + "/containers",
             .cgroup_root = options.cgroup_root,
             .cgroup = "/sluice",
             .shim = options.shim,
             .bridge = Bridge(std::move(options.prefixes)),
             .observer = {}},
      images_(std::move(images)) {
  // What the runtime starts in a container by `exec` is our child when the runtime has ended.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

Containers::~Containers() = default;

std::optional<rpc::CallError> Containers::missing() const {
  if (world_.runtime.is_there()) return std::nullopt;
  return rpc::CallError{.code = rpc::Code::failed_precondition,
                        .message = fmt::format("there is no container runtime: {} is not in this "
                                               "guest (sluice.runtime says where crun is)",
                                               world_.runtime.program())};
}

Result<Image> Containers::find_image(std::string_view name) const {
  if (!images_.find) {
    return Status(StatusCode::not_found, fmt::format("there is no image {}", name));
  }
  return images_.find(name);
}

Status Containers::hold_image(const Container& container) const {
  const ContainerSpec& spec = container.spec();
  if (spec.image_id.empty() || !images_.hold) return Status::ok();
  return images_.hold({.container = spec.id,
                       .name = spec.name,
                       .image = spec.image_id,
                       .journal = container.state_directory() + "/" + kSpecFile});
}

void Containers::keep(const std::shared_ptr<Container>& container) {
  const ContainerSpec& spec = container->spec();
  by_id_[spec.id] = container;
  names_[spec.name] = spec.id;
  if (!spec.auto_remove) return;
  std::weak_ptr<Container> weak = container;
  container->watch([this, weak] {
    auto one = weak.lock();
    if (!one || one->state() != Container::State::stopped) return;
    // Whoever waits for its end is told first.
    world_.loop.defer([this, one] {
      if (one->state() == Container::State::stopped) remove(one);
    });
  });
}

void Containers::recover() {
  for (const std::string& id : entries_of(world_.state)) {
    std::string directory = world_.state + "/" + id;
    auto spec = parse_spec(read_file(directory + "/" + kSpecFile).value_or(""));
    if (!spec || spec->id != id || names_.count(spec->name) > 0) {
      log(LogLevel::error, "agent: {} is no container's: removed", directory);
      remove_tree(directory);
      continue;
    }
    auto container = std::make_shared<Container>(world_, std::move(*spec));
    keep(container);
    container->recover();
  }
  for (const std::string& id : entries_of(world_.data)) {
    if (by_id_.count(id) > 0) continue;
    unmount_layers(world_.data + "/" + id + "/rootfs");
    remove_tree(world_.data + "/" + id);
  }
}

void Containers::shut_down() {
  for (const auto& container : list()) {
    if (container->state() == Container::State::restarting || container->is_alive()) {
      container->stop(container->spec().stop_signal, Duration(container->spec().stop_timeout_ns));
    }
  }
}

Result<std::shared_ptr<Container>> Containers::create(ContainerSpec spec) {
  if (names_.count(spec.name) > 0) {
    return Status(StatusCode::already_exists,
                  fmt::format("there is a container {} already", spec.name));
  }
  if (by_id_.size() >= kMostContainers) {
    return Status(StatusCode::exhausted,
                  fmt::format("{} containers are the most", kMostContainers));
  }
  auto container = std::make_shared<Container>(world_, std::move(spec));
  Status status = container->save();
  if (status) status = hold_image(*container);
  if (!status) {
    container->remove();
    return status;
  }
  keep(container);
  return container;
}

std::shared_ptr<Container> Containers::find(std::string_view text) const {
  std::string key(text);
  if (auto name = names_.find(key); name != names_.end()) return by_id_.at(name->second);
  auto first = by_id_.lower_bound(key);
  if (text.empty() || first == by_id_.end() || !first->first.starts_with(text)) return nullptr;
  if (first->first == text) return first->second;
  auto second = std::next(first);
  if (second != by_id_.end() && second->first.starts_with(text)) return nullptr;
  return first->second;
}

std::vector<std::shared_ptr<Container>> Containers::list() const {
  std::vector<std::shared_ptr<Container>> list;
  for (const auto& [id, container] : by_id_) list.push_back(container);
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return std::pair(a->spec().created_at_ns, a->spec().id) <
           std::pair(b->spec().created_at_ns, b->spec().id);
  });
  return list;
}

void Containers::remove(const std::shared_ptr<Container>& container) {
  std::string id = container->spec().id;
  names_.erase(container->spec().name);
  container->remove();
  if (!container->spec().image_id.empty() && images_.release) images_.release(container->spec());
  by_id_.erase(id);
}

}  // namespace sluice::agent
