#pragma once

#include <net/status.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/unique_fd.h"

namespace sluice::hostd {

/// Events in a file, one JSON object a line. Written on a thread of its own, so that a slow disk
/// holds nobody up; what can't be written is counted, and told in the log when that begins and
/// ends, and in the file once it takes lines again:
///
///     {"event":"lost","time_ns":1790000000000000000,"count":12}
///
/// Before the file would exceed its size it becomes PATH.1, PATH.1 becomes PATH.2, and so on; those
/// beyond the number that is kept go. Where that fails, lines are lost: the disk stays bounded. All
/// calls on any thread.
class EventFile {
 public:
  struct Options {
    std::string path;                            ///< A regular file, or a device or FIFO.
    std::uint64_t max_bytes = 64 * 1024 * 1024;  ///< 0: it is never renamed.
    unsigned keep = 4;                           ///< Former files; 1 at least.
  };
  struct Counters {
    std::uint64_t written = 0;
    std::uint64_t lost = 0;
  };
  /// What waits to be written; what comes then is lost.
  static constexpr std::size_t kMaxWaitingBytes = 16 * 1024 * 1024;

  /// Opens it, and makes its directory where that is missing. The error names path and reason.
  static Result<std::unique_ptr<EventFile>> open(Options options);
  /// Writes what waits.
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  const std::string& path() const { return options_.path; }
  /// Whether it is a file that can be renamed.
  bool is_regular() const { return is_regular_; }
  /// The directory, where it was missing.
  const std::string& made_directory() const { return made_directory_; }
  /// Whether this user, as it is now, may rename the file when it is full.
  Status check_rotation() const;

  /// A JSON object, without a line break.
  void append(std::string line);
  /// Opens the path again, after somebody has renamed the file. Where that fails the former file
  /// goes on.
  void reopen();
  Counters counters() const;

 private:
  explicit EventFile(Options options) : options_(std::move(options)) {}

  // On the thread; the first on that which opens as well.
  Status open_path();
  void run();
  void take(const std::string& line);
  Status write_line(std::string_view line);
  Status rotate();

  const Options options_;
  std::string made_directory_;
  bool is_regular_ = true;

  UniqueFd fd_;
  std::uint64_t size_ = 0;
  std::uint64_t told_lost_ = 0;  ///< Of Counters::lost, what the file says.
  bool is_failing_ = false;      ///< And the log says so.

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> waiting_;
  std::size_t waiting_bytes_ = 0;
  bool must_reopen_ = false;
  bool is_stopping_ = false;
  Counters counters_;
  std::thread thread_;
};

}  // namespace sluice::hostd
