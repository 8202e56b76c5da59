#pragma once

#include <net/status.h>

#include <span>
#include <string>
#include <string_view>

#include "hostd/config/options.h"

namespace sluice::hostd {

/// A value as somebody wrote it.
struct Given {
  std::string text;
  std::string where;  ///< The flag, or the config file's path.
  int line = 0;       ///< In the file, from 1; 0: on the command line.

  bool on_command_line() const { return line == 0; }
};

/// One thing that can be set: by a flag, and by a key of the config file that means the same.
struct Setting {
  enum class Kind {
    value,   ///< One value; the command line's counts if both have one.
    list,    ///< Several, each applied in turn.
    toggle,  ///< A flag without a value; `true` or `false` in the file.
    count,   ///< A flag that counts how often it is there; a number in the file.
  };
  std::string_view flags;  ///< As --help shows them: "-p,--publish".
  std::string_view key;    ///< In the file: "guest.mtu". Empty: it makes no sense there.
  Kind kind = Kind::value;
  std::string_view group;    ///< Heading in --help.
  std::string_view value;    ///< Name of the value in --help.
  std::string_view meaning;  ///< For --help.
  /// Takes the value over. An error says what is wrong with it and what would be right; where it
  /// was written is the caller's to add.
  Status (*apply)(Options& options, const Given& given);

  /// Its first spelling, by which errors name it.
  std::string_view flag() const { return flags.substr(0, flags.find(',')); }
};

/// All of them, in the order of --help.
std::span<const Setting> settings();

/// Heading of the attachments, of which there can be one.
inline constexpr std::string_view kNicGroup = "Guest's NIC (one of)";

/// What is still open when file and command line have been read: checks that there is a guest, and
/// fills in what depends on other settings.
Status complete(Options& options);

}  // namespace sluice::hostd
