#include "agent/supervise/readiness.h"

#include <net/address.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "agent/container/unix_socket.h"
#include "agent/process/spawn.h"
#include "base/posix_address.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

constexpr Duration kConnectLimit = std::chrono::seconds(1);
constexpr Duration kCommandLimit = std::chrono::seconds(5);

/// One that is known as soon as it is asked, or when its time is over.
class TimedProbe : public Probe {
 public:
  TimedProbe(Loop& loop, std::function<void(bool)> on_answer)
      : on_answer_(std::move(on_answer)), limit_(loop.make_timer([this] { answer(known_); })) {}

 protected:
  void answer_at_once(bool ready) {
    known_ = ready;
    limit_->start(Duration::zero());
  }
  void answer_within(Duration limit) { limit_->start(limit); }
  void answer(bool ready) {
    limit_->stop();
    if (on_answer_) std::exchange(on_answer_, nullptr)(ready);
  }

 private:
  std::function<void(bool)> on_answer_;
  bool known_ = false;
  std::unique_ptr<Timer> limit_;
};

class ConnectProbe final : public TimedProbe {
 public:
  ConnectProbe(Loop& loop, const Readiness& ready, std::function<void(bool)> on_answer)
      : TimedProbe(loop, std::move(on_answer)) {
    int begun = ready.tcp.empty() ? connect_unix(ready.unix_socket) : connect_tcp(ready.tcp);
    if (begun != EINPROGRESS) {
      answer_at_once(begun == 0);
      return;
    }
    watch_ = loop.watch(fd_.get(), {.writable = true}, [this](FdReady) { on_connected(); });
    answer_within(kConnectLimit);
  }

 private:
  int connect(const sockaddr* address, socklen_t size) {
    fd_.reset(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) return errno;
    return ::connect(fd_.get(), address, size) == 0 ? 0 : errno;
  }

  void on_connected() {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    watch_.reset();
    answer(error == 0);
  }

  int connect_unix(const std::string& path) {
    auto address = unix_address(path);
    if (!address) return EINVAL;
    return connect(reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  }

  int connect_tcp(const std::string& text) {
    auto at = Endpoint::parse(text);
    if (!at) return EINVAL;
    SocketAddress address(*at);
    return connect(address.get(), address.size());
  }

  UniqueFd fd_;
  std::unique_ptr<FdWatch> watch_;
};

class CommandProbe final : public TimedProbe {
 public:
  CommandProbe(Loop& loop, Children& children, const std::vector<std::string>& command,
               std::function<void(bool)> on_answer)
      : TimedProbe(loop, std::move(on_answer)), children_(children) {
    int error = 0;
    SpawnPlan plan;
    plan.args = command;
    plan.env = {std::string("PATH=") + kUsualPath};
    plan.program = find_program(command[0], kUsualPath, "/", error);
    Spawned child = error == 0 ? spawn(plan) : Spawned{};
    pid_ = child.pid;
    if (pid_ < 0) {
      answer_at_once(false);
      return;
    }
    children_.add(pid_, [this](const Exit& exit) {
      pid_ = -1;
      answer(exit.code == 0 && exit.signal == 0);
    });
    answer_within(kCommandLimit);
  }

  ~CommandProbe() override {
    if (pid_ < 0) return;
    children_.forget(pid_);
    ::kill(-pid_, SIGKILL);
  }
  CommandProbe(const CommandProbe&) = delete;
  CommandProbe& operator=(const CommandProbe&) = delete;

 private:
  Children& children_;
  pid_t pid_ = -1;
};

}  // namespace

std::unique_ptr<Probe> ask_readiness(Loop& loop, Children& children, const Readiness& ready,
                                     std::function<void(bool)> on_answer) {
  if (!ready.command.empty()) {
    return std::make_unique<CommandProbe>(loop, children, ready.command, std::move(on_answer));
  }
  return std::make_unique<ConnectProbe>(loop, ready, std::move(on_answer));
}

}  // namespace sluice::agent
