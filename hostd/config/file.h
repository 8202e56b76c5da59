#pragma once

#include <net/status.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hostd/config/setting.h"

namespace sluice::hostd {

/// A config file in TOML. Its keys are those of settings(), in tables: `guest.mtu` is `mtu` under
/// `[guest]`. A value is written as on the command line, numbers and booleans also as TOML has
/// them; a list is an array of such values, and a published port may also be a table of its own:
///
///     [[publish]]
///     host = "0.0.0.0:8080"
///     guest = 80
///     allowed-sources = ["192.0.2.0/24"]
///
/// Sets are a table of their own:
///
///     [policy.sets]
///     mirrors = ["deb.example.org", "*.pypi.example", "10.0.0.0/8"]
///
/// and rules for a part of the guest too:
///
///     [[policy.scope]]
///     prefix = "10.88.0.0/16"
///     rules = ["allow@github.com:tcp:443"]
///
/// A key that nobody knows, a value of the wrong type and a syntax error are errors that name the
/// line; nothing is taken over then.
class ConfigFile {
 public:
  /// Larger files are refused: a bound on what is held in memory.
  static constexpr std::size_t kMaxBytes = 16 << 20;

  static Result<ConfigFile> read(const std::string& path);
  /// `name` is what errors call the text.
  static Result<ConfigFile> parse(std::string_view text, const std::string& name);

  /// The scalars and the lists are applied apart: a command line stands between them.
  Status apply_values(Options& options) const;
  Status apply_lists(Options& options) const;

  /// The keys that do not say the same in both, in the order of settings().
  std::vector<std::string> difference(const ConfigFile& other) const;

 private:
  friend class ConfigReader;

  /// One value for one setting, in the order of the file's settings.
  struct Entry {
    const Setting* setting;
    Given given;
  };
  Status apply(Options& options, bool lists) const;

  std::vector<Entry> entries_;
  std::vector<PublishSpec> publish_tables_;
};

}  // namespace sluice::hostd
