#include "hostd/config/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include <toml++/toml.h>

#include "base/unique_fd.h"
#include "policy/spelling.h"

namespace sluice::hostd {

namespace {

// Its keys are names of the operator's choice.
constexpr std::string_view kSetsKey = "policy.sets";
constexpr std::string_view kScopeKey = "policy.scope";

bool is_list(const Setting& setting) {
  return setting.kind == Setting::Kind::list;
}

std::string_view wanted_type(const Setting& setting) {
  switch (setting.kind) {
    case Setting::Kind::toggle:
      return "true or false";
    case Setting::Kind::count:
      return "a number";
    case Setting::Kind::list:
      return "an array of strings";
    case Setting::Kind::value:
      break;
  }
  return "a string";
}

}  // namespace

/// Turns a parsed TOML document into entries.
class ConfigReader {
 public:
  ConfigReader(std::string name, ConfigFile& file) : name_(std::move(name)), file_(file) {}

  Status read(const toml::table& document) {
    for (const Setting& setting : settings()) {
      if (!setting.key.empty()) known_.insert(std::string(setting.key));
    }
    return read_table(document, "");
  }

 private:
  Status bad(const toml::node& node, std::string_view key, std::string_view why) const {
    return Status(StatusCode::invalid_argument,
                  fmt::format("{}, line {}: {}: {}", name_, node.source().begin.line, key, why));
  }

  Status read_table(const toml::table& table, const std::string& prefix) {
    for (const auto& [toml_key, node] : table) {
      std::string key = prefix + std::string(toml_key.str());
      const Setting* setting = find(key);
      Status status;
      if (key == kSetsKey) {
        status = read_sets(*setting, node);
      } else if (setting != nullptr) {
        status = read_setting(*setting, node);
      } else if (is_section(key)) {
        const toml::table* section = node.as_table();
        status =
            section ? read_table(*section, key + ".") : bad(node, key, "is a table, [" + key + "]");
      } else {
        status = unknown(toml_key, prefix);
      }
      if (!status) return status;
    }
    return Status::ok();
  }

  static const Setting* find(std::string_view key) {
    auto all = settings();
    auto at = std::find_if(all.begin(), all.end(),
                           [&](const Setting& setting) { return setting.key == key; });
    return at == all.end() ? nullptr : &*at;
  }

  bool is_section(const std::string& key) const {
    auto next = known_.lower_bound(key + ".");
    return next != known_.end() && next->starts_with(key + ".");
  }

  Status unknown(const toml::key& key, const std::string& prefix) const {
    // What may stand here: the next part of each known key under the prefix.
    std::set<std::string_view> here;
    for (const std::string& known : known_) {
      if (!known.starts_with(prefix)) continue;
      std::string_view rest = std::string_view(known).substr(prefix.size());
      here.insert(rest.substr(0, rest.find('.')));
    }
    std::vector<std::string_view> candidates(here.begin(), here.end());
    return Status(
        StatusCode::invalid_argument,
        fmt::format("{}, line {}: '{}{}' is not a setting{}", name_, key.source().begin.line,
                    prefix, key.str(), policy::spelling_hint(key.str(), candidates)));
  }

  Status read_setting(const Setting& setting, const toml::node& node) {
    if (!is_list(setting)) return read_scalar(setting, node);
    if (setting.key == "dns.split" && node.is_table()) return read_split(setting, *node.as_table());
    const toml::array* array = node.as_array();
    if (!array) return bad(node, setting.key, fmt::format("{} is needed", wanted_type(setting)));
    for (const toml::node& element : *array) {
      const toml::table* table = element.as_table();
      Status status = table && setting.key == "publish"       ? read_publish(*table)
                      : table && setting.key == kScopeKey     ? read_scope(setting, *table)
                      : table && setting.key == "dns.records" ? read_parts(setting, *table, kRecord)
                      : table && setting.key == "dns.zones"   ? read_parts(setting, *table, kZone)
                                                              : read_scalar(setting, element);
      if (!status) return status;
    }
    return Status::ok();
  }

  /// A table of arrays; each member becomes what `--set` would be given.
  Status read_sets(const Setting& setting, const toml::node& node) {
    const toml::table* sets = node.as_table();
    if (!sets) return bad(node, setting.key, "is a table, [policy.sets]");
    for (const auto& [name, members] : *sets) {
      std::string key = fmt::format("{}.{}", setting.key, name.str());
      const toml::array* array = members.as_array();
      if (!array || array->empty()) {
        return bad(members, key, "an array of names, suffixes, addresses and blocks is needed");
      }
      for (const toml::node& member : *array) {
        auto text = member.value_exact<std::string>();
        if (!text) return bad(member, key, "a string is needed");
        file_.entries_.push_back({&setting,
                                  {fmt::format("{}={}", name.str(), *text), name_,
                                   static_cast<int>(member.source().begin.line)}});
      }
    }
    return Status::ok();
  }

  /// A block and its rules; each rule becomes what `--scope` would be given.
  Status read_scope(const Setting& setting, const toml::table& table) {
    static constexpr std::array<std::string_view, 2> kKeys = {"prefix", "rules"};
    if (Status status = check_keys(setting.key, table, kKeys); !status) return status;
    auto prefix = table["prefix"].value_exact<std::string>();
    const toml::array* rules = table["rules"].as_array();
    if (!prefix || !rules) return bad(table, setting.key, "both prefix and rules are needed");
    for (const toml::node& rule : *rules) {
      auto text = rule.value_exact<std::string>();
      if (!text) return bad(rule, "policy.scope.rules", "an array of strings is needed");
      file_.entries_.push_back({&setting,
                                {fmt::format("{}={}", *prefix, *text), name_,
                                 static_cast<int>(rule.source().begin.line)}});
    }
    return Status::ok();
  }

  Status check_keys(std::string_view key, const toml::table& table,
                    std::span<const std::string_view> known) const {
    for (const auto& [name, node] : table) {
      if (std::find(known.begin(), known.end(), name.str()) != known.end()) continue;
      return Status(
          StatusCode::invalid_argument,
          fmt::format("{}, line {}: '{}.{}' is not a setting{}", name_, name.source().begin.line,
                      key, name.str(), policy::spelling_hint(name.str(), known)));
    }
    return Status::ok();
  }

  Status read_scalar(const Setting& setting, const toml::node& node) {
    auto text = text_of(node);
    bool is_bool = node.is_boolean(), is_number = node.is_integer();
    bool fits = text && (setting.kind == Setting::Kind::toggle  ? is_bool
                         : setting.kind == Setting::Kind::count ? is_number
                                                                : !is_bool);
    if (!fits) return bad(node, setting.key, fmt::format("{} is needed", wanted_type(setting)));
    add_entry(setting, *text, node);
    return Status::ok();
  }

  /// A key of a table that stands for one value on the command line.
  struct Part {
    std::string_view key;
    bool needed;
  };
  static constexpr std::array<Part, 4> kRecord{
      {{"name", true}, {"ttl", false}, {"type", true}, {"value", true}}};
  static constexpr std::array<Part, 1> kZone{{{"name", true}}};

  /// The parts in their order, with blanks between.
  Status read_parts(const Setting& setting, const toml::table& table, std::span<const Part> parts) {
    std::vector<std::string_view> keys;
    for (const Part& part : parts) keys.push_back(part.key);
    for (const auto& [key, node] : table) {
      if (std::find(keys.begin(), keys.end(), key.str()) != keys.end()) continue;
      return Status(
          StatusCode::invalid_argument,
          fmt::format("{}, line {}: '{}.{}' is not a setting{}", name_, key.source().begin.line,
                      setting.key, key.str(), policy::spelling_hint(key.str(), keys)));
    }
    std::string text;
    for (const Part& part : parts) {
      const toml::node* node = table.get(part.key);
      if (!node && !part.needed) continue;
      auto value = node ? text_of(*node) : std::nullopt;
      bool is_last = &part == &parts.back();
      if (!value || value->empty() || (!is_last && value->find_first_of(" \t") != value->npos)) {
        return bad(table, setting.key,
                   fmt::format("{} is needed{}", part.key, is_last ? "" : ", a single word"));
      }
      text += (text.empty() ? "" : " ") + *value;
    }
    add_entry(setting, text, table);
    return Status::ok();
  }

  /// `"corp.example" = ["10.0.0.53"]` for each zone.
  Status read_split(const Setting& setting, const toml::table& table) {
    for (const auto& [zone, node] : table) {
      const toml::array* array = node.as_array();
      if (!array) return bad(node, setting.key, "an array of resolvers is needed for each zone");
      std::string text(zone.str());
      text += '=';
      for (const toml::node& element : *array) {
        auto resolver = text_of(element);
        if (!resolver) return bad(element, setting.key, "a resolver is a string");
        text += (&element == &array->front() ? "" : ",") + *resolver;
      }
      add_entry(setting, text, node);
    }
    return Status::ok();
  }

  void add_entry(const Setting& setting, std::string text, const toml::node& node) {
    file_.entries_.push_back(
        {&setting, {std::move(text), name_, static_cast<int>(node.source().begin.line)}});
  }

  /// Strings, whole numbers and booleans, as text.
  static std::optional<std::string> text_of(const toml::node& node) {
    if (auto text = node.value_exact<std::string>()) return text;
    if (auto number = node.value_exact<std::int64_t>()) return std::to_string(*number);
    if (auto flag = node.value_exact<bool>()) return *flag ? "true" : "false";
    return std::nullopt;
  }

  Status read_publish(const toml::table& table) {
    static constexpr std::array<std::string_view, 7> kKeys = {"host",
                                                              "guest",
                                                              "protocol",
                                                              "source",
                                                              "allowed-sources",
                                                              "max-connections",
                                                              "connections-per-second"};
    if (Status status = check_keys("publish", table, kKeys); !status) return status;
    auto text = [&](std::string_view key) {
      const toml::node* node = table.get(key);
      return node ? text_of(*node) : std::nullopt;
    };
    auto host = text("host"), guest = text("guest");
    if (!host || !guest) return bad(table, "publish", "both host and guest are needed");
    std::string suffix = "/" + text("protocol").value_or("tcp");
    if (host->starts_with("unix:")) suffix.clear();
    auto spec = parse_publish(*host + ":" + *guest + suffix);
    if (!spec) return bad(table, "publish", spec.status().message());
    if (Status status = read_limits(table, *spec); !status) return status;
    file_.publish_tables_.push_back(std::move(*spec));
    return Status::ok();
  }

  Status read_limits(const toml::table& table, PublishSpec& spec) const {
    if (const toml::node* source = table.get("source")) {
      static constexpr std::array<std::string_view, 3> kModes = {"client", "gateway", "proxy-v2"};
      auto text = text_of(*source).value_or("");
      auto at = std::find(kModes.begin(), kModes.end(), text);
      if (at == kModes.end()) {
        return bad(*source, "publish.source",
                   fmt::format("'{}' is not a mode{}", text, policy::spelling_hint(text, kModes)));
      }
      spec.source = static_cast<SourceMode>(at - kModes.begin());
    }
    if (const toml::node* sources = table.get("allowed-sources")) {
      const toml::array* array = sources->as_array();
      if (!array) return bad(*sources, "publish.allowed-sources", "an array of blocks is needed");
      for (const toml::node& element : *array) {
        auto block = IpPrefix::parse(text_of(element).value_or(""));
        if (!block) return bad(element, "publish.allowed-sources", block.status().message());
        spec.allowed_sources.push_back(*block);
      }
    }
    auto number = [&](std::string_view key, auto& out) {
      const toml::node* node = table.get(key);
      if (!node) return Status::ok();
      auto value = node->value_exact<std::int64_t>();
      if (!value || *value < 0 || *value > UINT32_MAX) {
        return bad(*node, fmt::format("publish.{}", key),
                   "a number from 0 to 4294967295 is needed");
      }
      out = static_cast<std::remove_reference_t<decltype(out)>>(*value);
      return Status::ok();
    };
    if (Status status = number("max-connections", spec.max_connections); !status) return status;
    return number("connections-per-second", spec.connections_per_second);
  }

  std::string name_;
  ConfigFile& file_;
  std::set<std::string> known_;
};

Result<ConfigFile> ConfigFile::read(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Status::from_errno(errno, "--config " + path);
  std::string text;
  char buffer[65536];
  while (true) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::from_errno(errno, "--config " + path);
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > kMaxBytes) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("--config {}: larger than {} MiB", path, kMaxBytes >> 20));
    }
  }
  return parse(text, path);
}

Result<ConfigFile> ConfigFile::parse(std::string_view text, const std::string& name) {
  ConfigFile file;
  try {
    toml::table document = toml::parse(text, name);
    if (Status status = ConfigReader(name, file).read(document); !status) return status;
  } catch (const toml::parse_error& error) {
    return Status(StatusCode::invalid_argument,
                  fmt::format("{}, line {}, column {}: {}", name, error.source().begin.line,
                              error.source().begin.column, error.description()));
  }
  return file;
}

Status ConfigFile::apply(Options& options, bool lists) const {
  const Entry* nic = nullptr;
  for (const Entry& entry : entries_) {
    if (is_list(*entry.setting) != lists) continue;
    const Given& given = entry.given;
    auto bad = [&](std::string_view why) {
      return Status(StatusCode::invalid_argument,
                    fmt::format("{}, line {}: {} = {}: {}", given.where, given.line,
                                entry.setting->key, given.text, why));
    };
    if (entry.setting->group == kNicGroup) {
      if (nic)
        return bad(fmt::format("there is {} already, and only one can be", nic->setting->key));
      nic = &entry;
    }
    if (Status status = entry.setting->apply(options, given); !status) return bad(status.message());
  }
  if (lists) {
    for (const PublishSpec& spec : publish_tables_) options.network.publish.push_back(spec);
  }
  return Status::ok();
}

std::vector<std::string> ConfigFile::difference(const ConfigFile& other) const {
  auto texts = [](const ConfigFile& file, const Setting& setting) {
    std::vector<std::string_view> out;
    for (const Entry& entry : file.entries_) {
      if (entry.setting == &setting) out.push_back(entry.given.text);
    }
    return out;
  };
  std::vector<std::string> keys;
  for (const Setting& setting : settings()) {
    bool differs = texts(*this, setting) != texts(other, setting);
    if (setting.key == "publish") differs |= publish_tables_ != other.publish_tables_;
    if (differs) keys.emplace_back(setting.key);
  }
  return keys;
}

Status ConfigFile::apply_values(Options& options) const {
  return apply(options, false);
}

Status ConfigFile::apply_lists(Options& options) const {
  return apply(options, true);
}

}  // namespace sluice::hostd
