#include "agent/process/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "agent/os/file.h"
#include "agent/os/text.h"
#include "base/number.h"

namespace sluice::agent {

namespace {

/// Beyond it the file is no list of users that anybody made.
constexpr std::size_t kMaxFileBytes = std::size_t{4} << 20;

/// A uid or gid. The highest is none: the kernel's calls take it for "as it is", which is root's.
template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  auto number = parse_number<Number>(text);
  if (number == std::numeric_limits<Number>::max()) return std::nullopt;
  return number;
}

/// The fields of each line, between colons.
template <std::size_t Fields, typename Visit>
void for_each_line(std::string_view file, Visit visit) {
  while (!file.empty()) {
    std::string_view line = take_part(file, '\n');
    std::array<std::string_view, Fields> fields;
    std::size_t count = 0;
    while (count < Fields) {
      std::string_view one = line.substr(0, line.find(':'));
      fields[count++] = one;
      if (one.size() == line.size()) break;
      line.remove_prefix(one.size() + 1);
    }
    if (count == Fields) visit(fields);
  }
}

bool has_member(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    if (take_part(list, ',') == name) return true;
  }
  return false;
}

/// name:password:uid:gid:comment:home:shell
bool find_user(const std::string& passwd, std::string_view user, Identity& identity) {
  bool found = false;
  auto uid = number_of<uid_t>(user);
  for_each_line<7>(passwd, [&](const auto& fields) {
    auto line_uid = number_of<uid_t>(fields[2]);
    auto line_gid = number_of<gid_t>(fields[3]);
    if (found || !line_uid || !line_gid) return;
    if (fields[0] != user && (!uid || *line_uid != *uid)) return;
    found = true;
    identity = {.uid = *line_uid,
                .gid = *line_gid,
                .groups = {},
                .name = std::string(fields[0]),
                .home = fields[5].empty() ? "/" : std::string(fields[5]),
                .shell = fields[6].empty() ? "/bin/sh" : std::string(fields[6])};
  });
  return found;
}

// name:password:gid:members

void add_groups(const std::string& groups, Identity& identity) {
  for_each_line<4>(groups, [&](const auto& fields) {
    auto gid = number_of<gid_t>(fields[2]);
    if (gid && has_member(fields[3], identity.name)) identity.groups.push_back(*gid);
  });
}

bool find_group(const std::string& groups, std::string_view group, gid_t& gid) {
  auto number = number_of<gid_t>(group);
  bool found = number.has_value();
  if (found) gid = *number;
  for_each_line<4>(groups, [&](const auto& fields) {
    auto line_gid = number_of<gid_t>(fields[2]);
    if (found || !line_gid || fields[0] != group) return;
    gid = *line_gid;
    found = true;
  });
  return found;
}

}  // namespace

Result<Identity> find_identity(const std::string& root, std::string_view user) {
  return identity_of(read_file(root + "/etc/passwd", kMaxFileBytes).value_or(""),
                     read_file(root + "/etc/group", kMaxFileBytes).value_or(""), user);
}

Result<Identity> identity_of(const std::string& passwd, const std::string& groups,
                             std::string_view user) {
  std::string_view name = user.substr(0, user.find(':'));
  std::string_view group =
      name.size() < user.size() ? user.substr(name.size() + 1) : std::string_view();
  Identity identity;
  if (!find_user(passwd, name.empty() ? "root" : name, identity) && !name.empty()) {
    auto uid = number_of<uid_t>(name);
    if (!uid) {
      return Status(StatusCode::not_found, fmt::format("there is no user {} in /etc/passwd", name));
    }
    identity = {.uid = *uid, .gid = 0, .groups = {}, .name = std::string(name), .home = "/"};
  }

  if (group.empty()) {
    add_groups(groups, identity);
  } else if (!find_group(groups, group, identity.gid)) {
    return Status(StatusCode::not_found, fmt::format("there is no group {} in /etc/group", group));
  }
  return identity;
}

}  // namespace sluice::agent
