#pragma once

#include <net/network.h>

#include <span>
#include <string>
#include <string_view>

#include "hostd/api/event_file.h"
#include "hostd/api/event_log.h"
#include "hostd/api/http_server.h"
#include "hostd/guest/channel.h"

namespace sluice::hostd {

/// The control API, version 1: resources as paths, JSON in and out, errors as problem documents
/// (RFC 9457). openapi.json describes them. Called on the server's thread; waits for the Network's.
class Api {
 public:
  /// All outlive it; `file` and `agent` may be null.
  Api(std::string name, Network& network, EventLog& events, const EventFile* file,
      AgentChannel* agent = nullptr)
      : name_(std::move(name)), network_(network), events_(events), file_(file), agent_(agent) {}

  HttpResponse handle(const HttpRequest& request);

  /// One thing that can be asked for.
  struct Route {
    std::string_view method;
    /// A last part in braces stands for any: "/v1/flows/{id}".
    std::string_view path;
    HttpResponse (Api::*handler)(const HttpRequest& request);

    /// Whether a path is meant.
    bool matches(std::string_view wanted) const;
  };
  /// All of them, by path.
  static std::span<const Route> routes();

 private:
  static const Route kRoutes[];

  HttpResponse status(const HttpRequest& request);
  HttpResponse flows(const HttpRequest& request);
  HttpResponse flow(const HttpRequest& request);
  HttpResponse reset_flow(const HttpRequest& request);
  // Of dns_routes.cpp.
  HttpResponse dns(const HttpRequest& request);
  HttpResponse dns_records(const HttpRequest& request);
  HttpResponse add_dns_records(const HttpRequest& request);
  HttpResponse remove_dns_records(const HttpRequest& request);
  HttpResponse dns_zones(const HttpRequest& request);
  HttpResponse add_dns_zone(const HttpRequest& request);
  HttpResponse remove_dns_zone(const HttpRequest& request);
  HttpResponse dns_split(const HttpRequest& request);
  HttpResponse set_dns_split(const HttpRequest& request);
  HttpResponse remove_dns_split(const HttpRequest& request);
  HttpResponse dns_upstream(const HttpRequest& request);
  HttpResponse set_dns_upstream(const HttpRequest& request);

  HttpResponse names(const HttpRequest& request);
  HttpResponse forget_name(const HttpRequest& request);
  HttpResponse ports(const HttpRequest& request);
  HttpResponse add_port(const HttpRequest& request);
  HttpResponse remove_port(const HttpRequest& request);
  HttpResponse policy(const HttpRequest& request);
  HttpResponse set_policy(const HttpRequest& request);
  HttpResponse check_policy(const HttpRequest& request);
  HttpResponse learned(const HttpRequest& request);
  HttpResponse learn(const HttpRequest& request);
  HttpResponse stop_learning(const HttpRequest& request);
  HttpResponse events(const HttpRequest& request);
  HttpResponse openapi(const HttpRequest& request);

  std::string name_;
  Network& network_;
  EventLog& events_;
  const EventFile* file_;
  AgentChannel* agent_;
};

}  // namespace sluice::hostd
