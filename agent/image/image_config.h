#pragma once

#include <net/status.h>

#include <string>
#include <string_view>
#include <vector>

#include "agent/image/image.h"

namespace sluice::agent {

/// overlayfs takes no more.
inline constexpr std::size_t kMaxLayers = 500;

/// An image's configuration, as the OCI and Docker formats both have it.
struct ImageDescription {
  ImageConfig config;
  std::string os;
  std::string architecture;
  std::string variant;
  std::string created;
  std::vector<std::string> diff_ids;  ///< Digests of the unpacked layers, the lowest first.
};

/// invalid_argument: it is none, or has a layer whose digest is of a kind that is not known.
Result<ImageDescription> parse_image_config(std::string_view json);
/// A configuration of our own making, for a root file system that has none.
std::string make_image_config(const ImageDescription& description);

/// "linux/ARCH" of this machine, and of a description; with the variant where it has one.
std::string own_platform();
/// Whether an image for `os`/`architecture` is what `platform` asks for ("linux/arm64", also with a
/// variant behind it).
bool is_platform(std::string_view platform, std::string_view os, std::string_view architecture,
                 std::string_view variant);

/// The longest name, with its tag.
inline constexpr std::size_t kMaxNameBytes = 255;
/// A name as it is kept: with a tag (:latest), without Docker's own registry and its library. Empty
/// where it is no name: what is neither letter, digit nor one of .-_/: (a digest's @ too), or
/// longer than kMaxNameBytes.
std::string normal_name(std::string_view name);

}  // namespace sluice::agent
