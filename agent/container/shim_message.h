#pragma once

#include <cstddef>
#include <cstdint>

#include "agent/container/log_record.h"

namespace sluice::agent {

/// What goes over a shim's socket (SOCK_SEQPACKET): one byte, and what it says.
enum class ShimWord : std::uint8_t {
  // To the shim.
  start = 's',  ///< The program that `crun create` has made ready.
  input = 'i',  ///< Bytes. Not read while the container doesn't take those before.
  input_closed = 'e',
  resize = 'r',  ///< u16 rows, u16 columns.
  hold = 'h',    ///< u64: this connection has read the log up to there, and wants to miss nothing.
  signal = 'k',  ///< u8, to the first process.
  // From it, to every connection; a new one is told what has been already.
  created = 'C',  ///< u32: the first process's pid in the VM.
  started = 'S',
  exited = 'X',  ///< The status file has it all; the end of the connection follows.
};

inline constexpr std::size_t kMaxShimMessage = 1 + kMaxLogData;
/// How much further than the slowest holder the log may be, at most.
inline constexpr std::uint64_t kMaxHoldWindow = std::uint64_t{4} << 20;
/// Connections to one shim.
inline constexpr std::size_t kMaxShimConnections = 256;

// Files of a container's state directory.
inline constexpr const char* kSpecFile = "spec.json";
inline constexpr const char* kStatusFile = "status.json";
inline constexpr const char* kShimSocket = "shim.sock";
inline constexpr const char* kRuntimeLog = "runtime.log";
inline constexpr const char* kPidFile = "pid";

}  // namespace sluice::agent
