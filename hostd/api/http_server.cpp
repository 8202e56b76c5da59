#include "hostd/api/http_server.h"

#include <fmt/format.h>
#include <microhttpd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace sluice::hostd {

namespace {

/// A problem document (RFC 9457); what is in it needs no escapes.
HttpResponse refusal(int status, std::string_view title, std::string_view detail) {
  return {
      .status = status,
      .content_type = "application/problem+json",
      .body = fmt::format(R"({{"title":"{}","status":{},"detail":"{}"}})", title, status, detail) +
              "\n"};
}

}  // namespace

/// One request on its way in, and its stream on the way out.
struct HttpServer::Exchange {
  HttpRequest request;
  bool is_trusted = false;
  bool is_too_large = false;
};

struct HttpServer::Callbacks {
  /// A stream that is being sent.
  struct Sending {
    HttpServer* server;
    MHD_Connection* connection;
    std::unique_ptr<HttpStream> stream;
    std::string pending;
  };

  static MHD_Result add_argument(void* argument, MHD_ValueKind, const char* key,
                                 const char* value) {
    auto* query = static_cast<std::map<std::string, std::string>*>(argument);
    (*query)[key] = value ? value : "";
    return MHD_YES;
  }

  static MHD_Result handle(void* argument, MHD_Connection* connection, const char* url,
                           const char* method, const char*, const char* data,
                           std::size_t* data_size, void** state) {
    auto* self = static_cast<HttpServer*>(argument);
    auto* exchange = static_cast<Exchange*>(*state);
    if (!exchange) {
      auto made = std::make_unique<Exchange>();
      made->request.method = method;
      made->request.path = url;
      made->is_trusted = is_trusted(connection);
      MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, add_argument,
                                &made->request.query);
      *state = made.release();  // request_done() has it back
      return MHD_YES;
    }
    if (*data_size > 0) {
      if (exchange->request.body.size() + *data_size > kMaxBodyBytes) {
        exchange->is_too_large = true;
      } else {
        exchange->request.body.append(data, *data_size);
      }
      *data_size = 0;
      return MHD_YES;
    }
    HttpResponse response;
    if (!exchange->is_trusted) {
      response = refusal(403, "not permitted", "this hostd is another user's");
    } else if (exchange->is_too_large) {
      response = refusal(413, "too large", "a body has 16 MiB at most");
    } else {
      response = self->handler_(exchange->request);
    }
    return send(self, connection, std::move(response));
  }

  static MHD_Result send(HttpServer* self, MHD_Connection* connection, HttpResponse response) {
    MHD_Response* made = nullptr;
    if (response.stream) {
      auto sending = std::make_unique<Sending>(
          Sending{self, connection, std::move(response.stream), std::string()});
      constexpr std::size_t kBlock = 16384;
      made = MHD_create_response_from_callback(
          MHD_SIZE_UNKNOWN, kBlock, pull, sending.get(),
          [](void* raw) { std::unique_ptr<Sending> owned(static_cast<Sending*>(raw)); });
      if (made) static_cast<void>(sending.release());
    } else {
      made = MHD_create_response_from_buffer(response.body.size(), response.body.data(),
                                             MHD_RESPMEM_MUST_COPY);
    }
    if (!made) return MHD_NO;
    MHD_add_response_header(made, MHD_HTTP_HEADER_CONTENT_TYPE, response.content_type.c_str());
    if (!response.allow.empty()) {
      MHD_add_response_header(made, MHD_HTTP_HEADER_ALLOW, response.allow.c_str());
    }
    MHD_Result queued =
        MHD_queue_response(connection, static_cast<unsigned>(response.status), made);
    MHD_destroy_response(made);
    return queued;
  }

  static ssize_t pull(void* argument, std::uint64_t, char* out, std::size_t room) {
    auto* sending = static_cast<Sending*>(argument);
    HttpServer* self = sending->server;
    // Held while looking, so that a wake() can't fall between the look and the wait.
    std::lock_guard lock(self->mutex_);
    if (self->is_stopping_) return MHD_CONTENT_READER_END_OF_STREAM;
    if (sending->pending.empty()) sending->pending = sending->stream->pull();
    if (sending->pending.empty()) {
      self->waiting_.push_back(sending->connection);
      MHD_suspend_connection(sending->connection);
      return 0;
    }
    std::size_t size = sending->pending.copy(out, room);
    sending->pending.erase(0, size);
    return static_cast<ssize_t>(size);
  }

  static void request_done(void*, MHD_Connection*, void** state, MHD_RequestTerminationCode) {
    std::unique_ptr<Exchange> exchange(static_cast<Exchange*>(std::exchange(*state, nullptr)));
  }
};

bool HttpServer::is_trusted(MHD_Connection* connection) {
  const MHD_ConnectionInfo* info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!info || ::getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return false;
  }
  return peer.uid == 0 || peer.uid == ::geteuid();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(UniqueFd listener, Handler handler) {
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handler)));  // NOLINT: private
  server->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0,
      nullptr, nullptr, Callbacks::handle, server.get(), MHD_OPTION_LISTEN_SOCKET, listener.get(),
      MHD_OPTION_CONNECTION_LIMIT, kMaxConnections, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
      MHD_OPTION_NOTIFY_COMPLETED, Callbacks::request_done, nullptr, MHD_OPTION_END);
  if (!server->daemon_) {
    return Status(StatusCode::internal, "the control API's HTTP server did not start");
  }
  // The daemon closes it.
  static_cast<void>(listener.release());
  return server;
}

HttpServer::~HttpServer() {
  if (!daemon_) return;
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake();
  MHD_stop_daemon(daemon_);
}

void HttpServer::wake() {
  std::lock_guard lock(mutex_);
  for (MHD_Connection* connection : std::exchange(waiting_, {})) MHD_resume_connection(connection);
}

}  // namespace sluice::hostd
