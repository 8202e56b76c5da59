#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "hostd/ctl/guest_commands.h"

namespace sluice::ctl {

/// Adds the commands about containers below `guest`. `add` makes one of a word and what it means.
using AddGuestCommand = std::function<CLI::App*(const char* word, const char* meaning,
                                                std::function<int(GuestCommands&)> run)>;
void add_container_commands(const AddGuestCommand& add);

}  // namespace sluice::ctl
