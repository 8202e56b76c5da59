#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "base/uv_loop.h"

namespace sluice::test {

/// A network namespace of the test's own; gone with this object and whatever still runs in it.
class Namespace {
 public:
  /// Nothing where it is not permitted; then a warning says so.
  static std::optional<Namespace> make();

  int fd() const { return fd_.get(); }
  /// Runs `work` on a thread in the namespace and waits for it. What it throws, a failed REQUIRE
  /// for one, is thrown here.
  void run(const std::function<void()>& work) const;

 private:
  explicit Namespace(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

/// A program started in the namespace of the calling thread; ended with this object.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

/// Two namespaces with a cable between them: "eth0" at the guest's, and "srv0", up, with
/// 10.77.0.1/24 and fd77::1/64, at the server's. The NIC's MAC is 02:00:00:00:00:77.
struct Cable {
  Namespace guest;
  Namespace server;

  /// Nothing where it is not permitted.
  static std::optional<Cable> make();
};

/// What a command prints; it runs in the namespace of the calling thread.
std::string output_of(const std::string& command);
/// Whether it succeeds.
bool run_command(const std::string& command);

/// Runs the loop until `done`, or for as long as a test may take. Whether it is done.
bool run_until(UvLoop& loop, const std::function<bool()>& done);

}  // namespace sluice::test
