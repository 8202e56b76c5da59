#pragma once

#include <net/status.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hostd/config/file.h"
#include "hostd/config/options.h"
#include "hostd/config/setting.h"

namespace sluice::hostd {

/// Where the options come from: what the command line said, and the config file that it names,
/// which can be read again. A scalar of the command line counts before the file's; lists of both
/// add up.
class Configuration {
 public:
  using Flag = std::pair<const Setting*, Given>;

  Configuration() = default;
  /// `flags` in the order of the command line; `path` empty: no file.
  Configuration(std::vector<Flag> flags, std::string path)
      : flags_(std::move(flags)), path_(std::move(path)) {}

  /// Empty: there is nothing to read again.
  const std::string& path() const { return path_; }
  /// Reads the file and puts everything together. An error names the flag or the line, the value
  /// and the fix, and leaves this as it was.
  Result<Options> load();
  /// The keys that the last load() found to say something else than the one before.
  const std::vector<std::string>& changed_keys() const { return changed_keys_; }

 private:
  Status apply_flags(Options& options) const;

  std::vector<Flag> flags_;
  std::string path_;
  std::optional<ConfigFile> file_;
  std::vector<std::string> changed_keys_;
};

}  // namespace sluice::hostd
