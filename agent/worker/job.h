#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "agent/archive/stream.h"
#include "agent/rpc/call.h"
#include "base/bytes.h"

// Work that may take long, and so is not the loop's: moving gigabytes, waiting for a disk. It is
// done by a process of its own, forked from the agent, and not in slices of the loop's turns: a
// read or an fsync of a file can't be made not to block, code that may block is read from top to
// bottom, what a hostile archive does to it is no harm to the agent, and its memory is the kernel's
// again afterwards. A fork costs a third of a millisecond.

namespace sluice::agent {

/// What a job says, as frames on a pipe: u32 of this machine, the kind in its upper eight bits and
/// the length below.
enum class JobFrame : std::uint8_t {
  message = 1,  ///< For the client, as it is.
  bytes = 2,    ///< For the client, on credit.
  done = 3,     ///< The last message for the client.
  failed = 4,   ///< encode_error()
};
inline constexpr std::size_t kJobHeaderBytes = 4;
inline constexpr std::size_t kMaxJobFrameBytes = std::size_t{1} << 20;
inline constexpr unsigned kJobKindShift = 24;

std::string encode_error(const rpc::CallError& error);
rpc::CallError decode_error(ConstBytes bytes);

/// A job's two ends of pipes, in its own process.
class JobIo {
 public:
  JobIo(int in, int out, Stopped stopped)
      : stopped_(stopped), in_(in, std::move(stopped)), bytes_(out) {}

  /// What the client sends; its end is the client's word, and being given up is `closed`.
  Source& in() { return in_; }
  /// Bytes for the client. Waits while it doesn't read.
  Sink& bytes() { return bytes_; }
  bool stopped() const { return stopped_(); }

  template <typename T>
  Status send(const T& message) {
    return bytes_.put(JobFrame::message, rpc::encode(message));
  }
  /// One of these is the last.
  template <typename T>
  void done(const T& message) {
    (void)bytes_.put(JobFrame::done, rpc::encode(message)).is_ok();
  }
  void fail(const rpc::CallError& error);
  void fail(const Status& status) { fail(rpc::CallError::of(status)); }

 private:
  class BytesOut final : public Sink {
   public:
    explicit BytesOut(int fd) : sink_(fd) {}
    Status write(ConstBytes from) override;
    Status put(JobFrame kind, ConstBytes content);

   private:
    FdSink sink_;
  };

  Stopped stopped_;
  FdSource in_;
  BytesOut bytes_;
};

/// Runs in a process of its own, and ends with one of done() and fail().
using Job = std::function<void(JobIo& io)>;

}  // namespace sluice::agent
