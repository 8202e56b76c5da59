#pragma once

#include <string>
#include <vector>

#include "agent/init/boot_report.h"

namespace sluice::agent {

/// Loads kernel modules by name, each after those that it needs by modules.dep of the running
/// kernel: `names`, and what the files of /etc/modules-load.d name.
void load_modules(BootReport& boot, const std::vector<std::string>& names);

/// One that is about to be used: whether it is there shows then.
void load_module(const std::string& name);

/// The files to load for `name`, in order, by the text of a modules.dep; empty where it has no such
/// module. '-' and '_' are the same in a name.
std::vector<std::string> module_files(std::string_view modules_dep, std::string_view name);

}  // namespace sluice::agent
