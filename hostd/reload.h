#pragma once

#include <net/network.h>

#include <mutex>
#include <string>
#include <vector>

#include "hostd/config/configuration.h"

namespace sluice::hostd {

/// Reads the config file again and makes a running Network follow it: the policy, the published
/// ports, DNS records, zones and resolvers at once, whole or not at all. Any thread.
class Reload {
 public:
  /// What a reload came to.
  struct Report {
    std::vector<std::string> applied;         ///< Keys that are in force now.
    std::vector<std::string> need_a_restart;  ///< Keys that changed and are not.

    std::string to_string() const;
  };

  /// `configuration` has been loaded once, to `options`; `network` outlives this.
  Reload(Configuration configuration, const Options& options, Network& network);

  /// On an error nothing has changed.
  Result<Report> run();

 private:
  /// Publishes what is new; on an error takes back what it published.
  Status publish_new(const std::vector<PublishSpec>& wanted);
  void unpublish_old(const std::vector<PublishSpec>& wanted);

  std::mutex mutex_;
  Configuration configuration_;
  Network& network_;
  std::vector<PublishSpec> published_;
  NetworkConfig dns_;  ///< Its DNS settings are those of the last load; the rest is not used.
  std::vector<PublishSpec> added_;
};

}  // namespace sluice::hostd
