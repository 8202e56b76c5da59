#pragma once

#include <net/network.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "agent/client/endpoint.h"

namespace sluice::hostd {

// How the guest's NIC reaches us; one of these.
struct ListenStream {
  std::string path;  ///< QEMU, libkrun and passt clients connect here.
};
struct ConnectStream {
  std::string path;  ///< QEMU listens there.
};
struct ListenDatagram {
  std::string path;  ///< vfkit, krunkit, libkrun's unixgram: one frame a datagram.
};
struct PassedFd {
  int fd;  ///< A connected Unix socket or a tap; its kind is found out.
};
struct Tap {
  std::string name;
  std::string netns;  ///< A name under /run/netns, a path or a pid; empty: our own.
};
struct ListenVhostUser {
  std::string path;  ///< A VMM with a vhost-user-net front end connects here.
};
using Attachment =
    std::variant<ListenStream, ConnectStream, ListenDatagram, PassedFd, Tap, ListenVhostUser>;

/// What becomes of a guest that a rule marked `deny!` refused something.
enum class OnViolation : std::uint8_t {
  event,        ///< It is reported like any refusal.
  close_guest,  ///< hostd ends, with exit status 3, and the guest's network with it.
};

/// Which events there are.
enum class EventDetail : std::uint8_t {
  denied,  ///< What is refused.
  all,     ///< What is let through as well, and how each flow ended.
};

/// Everything that `hostd run` can be told, by flags or by a config file.
struct Options {
  std::string config_path;  ///< Empty: no file.
  std::string name;         ///< Never empty once complete() has returned ok.
  std::optional<Attachment> attachment;
  NetworkConfig network;
  bool mtu_given = false;
  OnViolation on_violation = OnViolation::close_guest;
  std::string api_path;  ///< Of the control socket; empty: the usual place; "none": none.
  std::optional<agent::client::AgentEndpoint> agent;  ///< Where the guest's agent is reached.
  std::string agent_token_file;                       ///< For one on TCP.
  bool keeps_agent_clock = true;                      ///< The guest's clock follows ours.
  EventDetail events = EventDetail::denied;
  std::string event_file;                             ///< Empty: none.
  std::uint64_t event_file_bytes = 64 * 1024 * 1024;  ///< 0: it is never renamed.
  unsigned event_file_keep = 4;                       ///< Former ones.
  std::string run_as;                                 ///< Empty: nobody, where we are root.
  int ready_fd = -1;
  bool one_off = false;  ///< End when the guest's end goes.
  int verbosity = 0;
};

}  // namespace sluice::hostd
