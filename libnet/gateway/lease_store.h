#pragma once

#include <functional>
#include <string>
#include <vector>

#include <net/address.h>
#include <net/status.h>

#include "base/loop.h"

namespace sluice::gateway {

/// A lease as it outlives the process: times are relative, as the monotonic clock does not.
struct StoredLease {
  MacAddress mac;
  IpAddress address;
  Duration remaining{};  ///< Negative: ran out that long ago.
  std::string name;      ///< One DNS label or empty.
};

/// Where leases survive a restart. Loop thread only.
class LeaseStore {
 public:
  virtual ~LeaseStore() = default;
  /// Never fails: what can't be read is not there.
  virtual std::vector<StoredLease> load() = 0;
  /// Replaces everything stored.
  virtual Status save(const std::vector<StoredLease>& leases) = 0;
};

/// Leases in a text file: a header line, then per lease "MAC ADDRESS EXPIRES NAME" with the expiry
/// in Unix seconds and "-" for no name.
///
/// A save writes a new file and renames it over the old one, so that a reader sees either, also
/// after kill -9 in between. It is not synced to the disk: that can hold the loop up for long, and
/// all that a power cut can lose is which address a guest had. A reader skips lines that it can't
/// parse.
class FileLeaseStore : public LeaseStore {
 public:
  /// The file's directory must exist. `wall_seconds` is the Unix time.
  FileLeaseStore(std::string path, std::function<std::int64_t()> wall_seconds);

  std::vector<StoredLease> load() override;
  Status save(const std::vector<StoredLease>& leases) override;

 private:
  std::string path_;
  std::function<std::int64_t()> wall_seconds_;
};

}  // namespace sluice::gateway
