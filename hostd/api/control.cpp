#include "hostd/api/control.h"

#include <fmt/format.h>
#include <unistd.h>

#include "hostd/attach/unix_socket.h"
#include "hostd/directories.h"

namespace sluice::hostd {

Result<std::unique_ptr<Control>> Control::listen(const std::string& path) {
  std::string made_directory = make_parent_directory(path);
  auto listener = listen_unix_stream(path);
  if (!listener) {
    return Status(listener.status().code(), "--api " + listener.status().message());
  }
  return std::unique_ptr<Control>(new Control(
      path, std::move(made_directory), std::move(*listener)));  // NOLINT: private constructor
}

Control::~Control() {
  if (events_) events_->set_on_append(nullptr);
  server_.reset();
  ::unlink(path_.c_str());
}

Status Control::serve(const std::string& name, Network& network, EventLog& events,
                      const EventFile* file, AgentChannel* agent) {
  api_ = std::make_unique<Api>(name, network, events, file, agent);
  auto server = HttpServer::start(std::move(listener_), [api = api_.get()](const auto& request) {
    return api->handle(request);
  });
  if (!server) return server.status();
  server_ = std::move(*server);
  events_ = &events;
  events.set_on_append([server = server_.get()] { server->wake(); });
  return Status::ok();
}

}  // namespace sluice::hostd
