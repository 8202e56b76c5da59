#pragma once

namespace sluice::hostd {

/// Log lines go to standard error, one write each. 0: warnings, denials and readiness; 1: what
/// happens to the guest's end as well; 2 and more: every failed connection.
void set_up_logging(int verbosity);

}  // namespace sluice::hostd
