#pragma once

#include <net/network.h>

#include <string>

#include "hostd/api/event_log.h"
#include "hostd/api/http_server.h"

namespace sluice::hostd {

/// The control API, version 1: resources as paths, JSON in and out, errors as problem documents
/// (RFC 9457). docs/api.md lists them. Called on the server's thread; waits for the Network's.
class Api {
 public:
  /// Both outlive it.
  Api(std::string name, Network& network, EventLog& events)
      : name_(std::move(name)), network_(network), events_(events) {}

  HttpResponse handle(const HttpRequest& request);

 private:
  struct Route;
  static const Route kRoutes[];

  HttpResponse status(const HttpRequest& request);
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

  std::string name_;
  Network& network_;
  EventLog& events_;
};

}  // namespace sluice::hostd
