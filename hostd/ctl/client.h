#pragma once

#include <net/status.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace sluice::ctl {

/// One hostd's control API, as a client sees it. Calls wait for the answer. One thread.
class Client {
 public:
  explicit Client(std::string socket_path) : socket_path_(std::move(socket_path)) {}

  const std::string& socket_path() const { return socket_path_; }
  /// `path` with its query, encoded. The error is the API's own sentence, or why it can't be had.
  Result<nlohmann::json> get(const std::string& path);
  Result<nlohmann::json> put(const std::string& path, const nlohmann::json& body);
  Result<nlohmann::json> remove(const std::string& path);
  /// Follows server-sent events until `on_event(name, data)` returns false or the hostd ends.
  Status follow(const std::string& path,
                const std::function<bool(std::string_view, std::string_view)>& on_event);

 private:
  Result<nlohmann::json> request(const std::string& method, const std::string& path,
                                 const std::string* body);

  std::string socket_path_;
};

/// Text as part of a URL.
std::string encoded(std::string_view text);

/// The control socket of the instance that is meant: the one named, or the only one there is. The
/// error lists those that there are.
Result<std::string> find_socket(const std::string& name);

}  // namespace sluice::ctl
