#pragma once

#include <net/status.h>

#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "hostd/api/api.h"
#include "hostd/api/event_log.h"
#include "hostd/api/http_server.h"

namespace sluice::hostd {

/// The control socket of one instance, listening: made while there are rights to make it, served
/// once there is a Network.
class Control {
 public:
  /// Listens at `path`, mode 0600, and makes its directory if that is missing.
  static Result<std::unique_ptr<Control>> listen(const std::string& path);
  ~Control();

  const std::string& path() const { return path_; }
  /// The directory, where it was missing: whoever removes the socket in the end must own it.
  const std::string& made_directory() const { return made_directory_; }
  /// All outlive it; `file` and `agent` may be null.
  Status serve(const std::string& name, Network& network, EventLog& events, const EventFile* file,
               AgentChannel* agent);

 private:
  Control(std::string path, std::string made_directory, UniqueFd listener)
      : path_(std::move(path)),
        made_directory_(std::move(made_directory)),
        listener_(std::move(listener)) {}

  std::string path_;
  std::string made_directory_;
  UniqueFd listener_;
  EventLog* events_ = nullptr;
  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace sluice::hostd
