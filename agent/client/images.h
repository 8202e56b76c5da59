#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/client/byte_stream.h"
#include "agent/client/guest.h"

namespace sluice::agent::client {

struct ImportSpec {
  enum class Kind { automatic, oci, docker, rootfs };
  Kind kind = Kind::automatic;
  std::string name;
  std::string platform;
  std::uint64_t max_bytes = 0;  ///< 0: what the disk holds.
};

struct ImageInfo {
  std::string id;
  std::vector<std::string> names;
  std::uint64_t size = 0;  ///< Bytes.
  std::uint32_t layers = 0;
  std::string architecture;
  std::string created;
  std::int64_t imported_at_ns = 0;
};

struct RemovedImages {
  std::vector<std::string> names;
  std::vector<std::string> ids;
  std::uint64_t bytes = 0;
};

/// An archive to be written into what is returned.
std::unique_ptr<Upload> import_image(Caller& caller, const ImportSpec& spec,
                                     std::function<void()> on_room,
                                     OnAnswer<std::vector<ImageInfo>> on_answer);
void list_images(Caller& caller, OnAnswer<std::vector<ImageInfo>> on_answer);
enum class Force { no, yes };
void remove_image(Caller& caller, const std::string& image, Force force,
                  OnAnswer<RemovedImages> on_answer);
enum class PrunedImages { unnamed, unused };
void prune_images(Caller& caller, PrunedImages what, OnAnswer<RemovedImages> on_answer);

}  // namespace sluice::agent::client
