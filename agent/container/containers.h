#pragma once

#include <net/address.h>
#include <net/status.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/container/container.h"
#include "agent/container/container_options.h"
#include "agent/image/image.h"
#include "agent/image/image_users.h"

namespace sluice::agent {

/// All containers, by id and name. One thread.
class Containers {
 public:
  /// The image store. Each may be missing.
  struct Images {
    /// not_found where the store has none of that name.
    std::function<Result<Image>(std::string_view)> find;
    /// From now until release() the image's layers stay. not_found: it has gone meanwhile.
    std::function<Status(const ImageUser&)> hold;
    std::function<void(const ContainerSpec&)> release;
  };

  Containers(Loop& loop, Children& children, ContainerOptions options, Images images);
  ~Containers();
  Containers(const Containers&) = delete;
  Containers& operator=(const Containers&) = delete;

  /// Before recover(). `bridge_has_dns`: containers on the bridge ask its addresses for names.
  void set_observer(ContainerObserver observer, bool bridge_has_dns) {
    world_.observer = std::move(observer);
    world_.bridge_has_dns = bridge_has_dns;
  }
  /// Takes up the containers of an agent before us, and removes what belongs to none.
  void recover();
  /// The guest ends: nothing is restarted any more.
  void shut_down();

  /// Why there can be none: no runtime.
  std::optional<rpc::CallError> missing() const;
  ContainerWorld& world() { return world_; }
  const Bridge& bridge() const { return world_.bridge; }
  Result<Image> find_image(std::string_view name) const;

  /// `spec` has an id; its name is its own. already_exists where the name is taken.
  Result<std::shared_ptr<Container>> create(ContainerSpec spec);
  /// By id, name or the beginning of an id. Null where there is none.
  std::shared_ptr<Container> find(std::string_view text) const;
  /// The oldest first.
  std::vector<std::shared_ptr<Container>> list() const;
  /// It isn't alive.
  void remove(const std::shared_ptr<Container>& container);

 private:
  void keep(const std::shared_ptr<Container>& container);
  Status hold_image(const Container& container) const;

  ContainerWorld world_;
  Images images_;
  std::map<std::string, std::shared_ptr<Container>> by_id_;
  std::map<std::string, std::string> names_;  ///< name -> id
};

}  // namespace sluice::agent
