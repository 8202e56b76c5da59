#pragma once

#include <net/status.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

struct MHD_Connection;
struct MHD_Daemon;

namespace sluice::hostd {

struct HttpRequest {
  std::string method;
  std::string path;  ///< Decoded, without the query.
  std::map<std::string, std::string> query;
  std::string body;
};

/// A body without an end: server-sent events.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  /// What is there to send now; empty: nothing yet, ask again after HttpServer::wake().
  virtual std::string pull() = 0;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::unique_ptr<HttpStream> stream;  ///< Instead of `body`.
  std::string allow;                   ///< Of a 405: the methods that there are.
};

/// HTTP/1.1 on a Unix socket, on a thread of its own. Only this process's user and root are
/// served, whoever could open the socket.
class HttpServer {
 public:
  /// More connections wait to be accepted.
  static constexpr unsigned kMaxConnections = 64;
  /// A request's body; more is answered 413.
  static constexpr std::size_t kMaxBodyBytes = 16 << 20;
  /// A connection that says nothing for this long is closed, unless it follows a stream.
  static constexpr unsigned kIdleSeconds = 30;

  /// Called on the server's thread.
  using Handler = std::function<HttpResponse(const HttpRequest&)>;

  /// `listener`: a listening socket, taken over.
  static Result<std::unique_ptr<HttpServer>> start(UniqueFd listener, Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Has every stream pulled again. Any thread.
  void wake();

 private:
  struct Exchange;
  struct Callbacks;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {}
  /// Whether whoever is at the other end may use this.
  static bool is_trusted(MHD_Connection* connection);

  Handler handler_;
  MHD_Daemon* daemon_ = nullptr;
  std::mutex mutex_;
  bool is_stopping_ = false;
  std::vector<MHD_Connection*> waiting_;  ///< Suspended until wake().
};

}  // namespace sluice::hostd
