#pragma once

#include <net/network.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

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
using Attachment = std::variant<ListenStream, ConnectStream, ListenDatagram, PassedFd, Tap>;

struct RunOptions {
  std::string name;
  Attachment attachment;
  NetworkConfig network;
  bool mtu_given = false;
  std::string run_as;  ///< Empty: nobody, where we are root.
  int ready_fd = -1;
  bool one_off = false;  ///< End when the guest's end goes.
  int verbosity = 0;
};

/// What the command line said: a thing to run, or an exit status after help or an error was
/// printed.
struct CommandLine {
  std::optional<RunOptions> run;
  int exit_status = 0;
};

/// Parses the command line. Errors go to standard error: the flag, the value and the fix.
CommandLine parse_command_line(int argc, char** argv);

}  // namespace sluice::hostd
