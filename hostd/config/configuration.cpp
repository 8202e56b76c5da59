#include "hostd/config/configuration.h"

#include <fmt/format.h>

namespace sluice::hostd {

Status Configuration::apply_flags(Options& options) const {
  for (const auto& [setting, given] : flags_) {
    if (Status status = setting->apply(options, given); !status) {
      return Status(status.code(),
                    fmt::format("{} {}: {}", setting->flag(), given.text, status.message()));
    }
  }
  return Status::ok();
}

Result<Options> Configuration::load() {
  Options options;
  options.config_path = path_;
  if (path_.empty()) {
    if (Status status = apply_flags(options); !status) return status;
    return options;
  }
  auto file = ConfigFile::read(path_);
  if (!file) return file.status();
  if (Status status = file->apply_values(options); !status) return status;
  if (Status status = apply_flags(options); !status) return status;
  if (Status status = file->apply_lists(options); !status) return status;
  if (file_) changed_keys_ = file->difference(*file_);
  file_ = std::move(*file);
  return options;
}

}  // namespace sluice::hostd
