#include "agent/init/secrets.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <string_view>

#include "agent/net/sysctl.h"
#include "agent/os/file.h"

namespace sluice::agent {

namespace {

constexpr const char* kPlaces[] = {"/proc/cmdline", "/proc/bootconfig",
                                   "/sys/firmware/devicetree/base/chosen/bootargs"};
/// Not seen by anybody: it is gone when it has been mounted.
constexpr const char* kCopy = "/dev/.sluice-cmdline";
constexpr unsigned kForAll = 0444;

/// Where it stands in `text`, in whichever case; npos.
std::size_t find_token(std::string_view text, std::string_view token) {
  auto at = std::search(
      text.begin(), text.end(), token.begin(), token.end(),
      [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
  return at == text.end() ? std::string_view::npos : static_cast<std::size_t>(at - text.begin());
}

Status cover(const char* place, const std::string& text) {
  if (Status status = write_file(kCopy, text, kForAll); !status) return status;
  bool covered =
      ::mount(kCopy, place, nullptr, MS_BIND, nullptr) == 0 &&
      ::mount(nullptr, place, nullptr,
              MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
  Status status = covered ? Status::ok() : Status::from_errno(errno, std::string("cover ") + place);
  ::unlink(kCopy);
  return status;
}

}  // namespace

void hide_token(BootReport& boot, const std::string& token) {
  auto step = boot.begin("hide the token");
  Status first;
  for (const char* place : kPlaces) {
    std::string text = read_file(place).value_or("");
    std::size_t at = find_token(text, token);
    if (at == std::string::npos) continue;
    for (; at != std::string::npos; at = find_token(text, token)) {
      std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(at), token.size(), '.');
    }
    if (Status status = cover(place, text); !status && first) first = status;
  }
  if (Status status = Sysctl().write("kernel/dmesg_restrict", "1"); !status && first) {
    first = status;
  }
  if (first) {
    boot.done(step);
  } else {
    boot.failed(step, 0, first.message());
  }
}

}  // namespace sluice::agent
