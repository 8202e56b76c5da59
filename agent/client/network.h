#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "agent/client/caller.h"
#include "agent/client/credit.h"
#include "agent/client/unary.h"

/// The calls of the service Network, and Agent.Events and Metrics, in C++ (agent/proto has what
/// each does). All callbacks come on the loop's thread and never from inside the call that set them
/// up.
namespace sluice::agent::client {

struct Names {
  std::string owner;
  std::string network;
  bool sandbox = false;
  std::vector<std::string> names;
  std::vector<std::string> addresses;
  bool by_host = true;
};

struct NamedValue {
  std::string name;
  double value = 0;
  bool counter = true;
};

struct DnsInfo {
  struct Listening {
    std::string address;
    std::string network;
    bool serving = false;
    std::string problem;
  };
  std::string suffix;
  std::vector<Listening> listening;
  std::vector<std::string> upstreams;
  std::vector<NamedValue> counters;
  std::uint32_t names = 0;
  std::uint32_t pending = 0;
  std::uint32_t sessions = 0;
};

struct ListeningPort {
  bool udp = false;
  std::string address;
  std::uint32_t port = 0;
  std::string netns;
  std::uint32_t uid = 0;
};

struct PortNews {
  std::vector<ListeningPort> added;
  std::vector<ListeningPort> removed;
  bool present = false;  ///< All that was there at first has been told.
};

/// What happened, in words; `lost` more had no room before it.
struct GuestEvent {
  std::int64_t realtime_ns = 0;
  std::uint64_t lost = 0;
  /// "boot", "network", "process", "container", "service"; "" begins the stream.
  std::string kind;
  std::string text;
};

struct Nothing {};
void dns_info(Caller& caller, OnAnswer<DnsInfo> on_answer);
void list_names(Caller& caller, OnAnswer<std::vector<Names>> on_answer);
void add_names(Caller& caller, const Names& names, OnAnswer<Nothing> on_answer);
void remove_names(Caller& caller, const std::string& owner, const std::string& network,
                  OnAnswer<Nothing> on_answer);
void metrics(Caller& caller, OnAnswer<std::vector<NamedValue>> on_answer);

using OnStreamEnd = std::function<void(const rpc::CallError& error)>;
/// Until the connection or the call ends.
void watch_ports(Caller& caller, const std::vector<std::string>& namespaces,
                 std::function<void(const PortNews&)> on_news, OnStreamEnd on_end);
void watch_events(Caller& caller, std::function<void(const GuestEvent&)> on_event,
                  OnStreamEnd on_end);

/// A connection to a server in the guest. As with Exec, output is granted as it is consumed.
class Tunnel {
 public:
  struct Events {
    std::function<void()> on_opened;
    /// consumed() is called for each byte, from here or later.
    std::function<void(ConstBytes bytes)> on_data;
    /// The server sends no more.
    std::function<void()> on_closed;
    /// More may be given to write().
    std::function<void()> on_room;
    std::function<void(const rpc::CallError& error)> on_end;
  };

  /// To `host` (an address, a registered name, or "" for localhost) and `port`; port 0: to the
  /// Unix socket at the path `host`.
  Tunnel(Caller& caller, const std::string& host, std::uint16_t port, Events events);
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  /// Bytes that write() takes now.
  std::size_t room() const { return credit_; }
  /// At most room() bytes.
  void write(ConstBytes bytes);
  void close();
  void consumed(std::size_t bytes);

 private:
  void on_message(ConstBytes bytes);

  Caller& caller_;
  Events events_;
  std::uint32_t stream_ = 0;
  std::size_t credit_;
  Consumed consumed_;
};

}  // namespace sluice::agent::client
