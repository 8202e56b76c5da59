#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice::agent {

/// What an image says of how it is run (OCI image specification, config.md).
struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  ///< NAME=value.
  std::string working_dir;
  std::string user;
  std::string stop_signal;
  std::map<std::string, std::string> labels;
};

/// An image in the store.
struct Image {
  std::string id;                   ///< sha256:... of its configuration.
  std::vector<std::string> names;   ///< name:tag.
  std::vector<std::string> layers;  ///< Directories for overlayfs, the lowest first.
  ImageConfig config;
  std::string architecture;         ///< As Go names it: amd64, arm64.
  std::string created;              ///< RFC 3339, as its maker says; may be empty.
  std::uint64_t size = 0;           ///< Bytes of its layers, unpacked.
  std::int64_t imported_at_ns = 0;  ///< Wall clock, since the epoch.
};

}  // namespace sluice::agent
