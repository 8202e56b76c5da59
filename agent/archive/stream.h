#pragma once

#include <net/status.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"

// Bytes that are pulled through: a reader asks the one below it, so that each stage keeps no more
// than a buffer of its own. Reading blocks; it is for worker processes (agent/worker), not the
// loop.

namespace sluice::agent {

/// How much the stages move at once.
inline constexpr std::size_t kPieceBytes = std::size_t{64} << 10;

/// Whether what is under way was given up meanwhile.
using Stopped = std::function<bool()>;

/// Where bytes come from.
class Source {
 public:
  virtual ~Source() = default;
  /// At most `into`, which is not empty; 0 is the end. After an error or the end it is not called.
  virtual Result<std::size_t> read(Bytes into) = 0;
};

/// Where bytes go.
class Sink {
 public:
  virtual ~Sink() = default;
  /// All of them, or why not.
  virtual Status write(ConstBytes from) = 0;
};

/// A descriptor, which stays the caller's. Interrupted by a signal it asks `stopped`; where that is
/// true the read fails with `closed`.
class FdSource final : public Source {
 public:
  explicit FdSource(int fd, Stopped stopped = {}) : fd_(fd), stopped_(std::move(stopped)) {}
  Result<std::size_t> read(Bytes into) override;

 private:
  int fd_;
  Stopped stopped_;
};

/// A descriptor, which stays the caller's.
class FdSink final : public Sink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Status write(ConstBytes from) override;

 private:
  int fd_;
};

/// `size` bytes of a file from `offset` on, whatever its position. A shorter file is an error.
class FileRangeSource final : public Source {
 public:
  FileRangeSource(int fd, std::uint64_t offset, std::uint64_t size)
      : fd_(fd), offset_(offset), left_(size) {}
  Result<std::size_t> read(Bytes into) override;

 private:
  int fd_;
  std::uint64_t offset_;
  std::uint64_t left_;
};

class MemorySource final : public Source {
 public:
  /// `most`: bytes that one read gives at most.
  explicit MemorySource(ConstBytes bytes, std::size_t most = SIZE_MAX)
      : bytes_(bytes), most_(most) {}
  Result<std::size_t> read(Bytes into) override {
    std::size_t size = std::min({into.size(), bytes_.size(), most_});
    std::copy_n(bytes_.begin(), size, into.begin());
    bytes_ = bytes_.subspan(size);
    return size;
  }

 private:
  ConstBytes bytes_;
  std::size_t most_;
};

class StringSink final : public Sink {
 public:
  Status write(ConstBytes from) override {
    text.append(from.begin(), from.end());
    return Status::ok();
  }
  std::string text;
};

/// What may be unpacked in all, over several streams: against archives that unpack to far more than
/// they are.
class Allowance {
 public:
  explicit Allowance(std::uint64_t most, Stopped stopped = {})
      : most_(most), left_(most), stopped_(std::move(stopped)) {}
  /// exhausted: that was more than is left; closed: it was stopped.
  Status take(std::uint64_t bytes);

 private:
  std::uint64_t most_;
  std::uint64_t left_;
  Stopped stopped_;
};

/// Passes on what `below` has as long as the allowance lasts.
class MeteredSource final : public Source {
 public:
  MeteredSource(Source& below, Allowance& allowance) : below_(below), allowance_(allowance) {}
  Result<std::size_t> read(Bytes into) override;

 private:
  Source& below_;
  Allowance& allowance_;
};

/// Exactly as many bytes as `into` has. invalid_argument: it ended before, within `what`.
Status read_exactly(Source& source, Bytes into, const char* what);
/// What a read that was stopped ends with.
Status given_up();
/// Reads to the end, for what hashes it on the way.
Status drain(Source& source);
/// What the kernel said, as a Status: codes as calls report them.
Status os_error(int error, const std::string& what);

}  // namespace sluice::agent
