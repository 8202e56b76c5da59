#include "agent/container/runtime.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "agent/container/shim_message.h"
#include "agent/os/file.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kMaxLogBytes = 64 << 10;

/// What a runtime says at the end of a line, in the C library's words.
constexpr auto kErrors = std::to_array<int>({ENOENT, EACCES, ENOEXEC, EPERM, ENOTDIR, EISDIR, ELOOP,
                                             ENOMEM, ENOSPC, EINVAL, EROFS, ENODEV, EBUSY});

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  auto start = text.rfind('\n');
  return start == std::string::npos ? text : text.substr(start + 1);
}

}  // namespace

bool Runtime::is_there() const {
  return ::access(program().c_str(), X_OK) == 0;
}

SpawnPlan Runtime::plan(const std::string& log, std::vector<std::string> args) {
  SpawnPlan plan;
  plan.program = program_.executable();
  plan.args = {program(), "--root", root_, "--cgroup-manager", "cgroupfs", "--log", log};
  plan.args.insert(plan.args.end(), std::make_move_iterator(args.begin()),
                   std::make_move_iterator(args.end()));
  plan.env = {std::string("PATH=") + kUsualPath};
  return plan;
}

SpawnPlan Runtime::create(const std::string& id, const std::string& state,
                          const std::string& console) {
  std::vector<std::string> args = {"create", "--bundle", state, "--pid-file",
                                   state + "/" + kPidFile};
  if (!console.empty()) args.insert(args.end(), {"--console-socket", console});
  args.push_back(id);
  return plan(state + "/" + kRuntimeLog, std::move(args));
}

SpawnPlan Runtime::start(const std::string& id, const std::string& state) {
  return plan(state + "/" + kRuntimeLog, {"start", id});
}

bool Runtime::release(const std::string& id) const {
  std::string path = directory(id) + "/exec.fifo";
  // Only who waits for it reads here: another runtime's container is the one that writes.
  UniqueFd fifo(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  struct stat found{};
  if (!fifo || ::fstat(fifo.get(), &found) != 0 || !S_ISFIFO(found.st_mode)) return false;
  // The name stands for "created" to the runtime.
  if (::unlink(path.c_str()) != 0) return false;
  return ::write(fifo.get(), "", 1) == 1;
}

SpawnPlan Runtime::remove(const std::string& id, const std::string& state) {
  return plan(state + "/delete.log", {"delete", "--force", id});
}

SpawnPlan Runtime::exec(const std::string& id, const std::string& log,
                        const std::string& process_file, const std::string& pid_file,
                        const std::string& console) {
  std::vector<std::string> args = {"exec",       "--detach",   "--process",
                                   process_file, "--pid-file", pid_file};
  if (!console.empty()) args.insert(args.end(), {"--console-socket", console});
  args.push_back(id);
  return plan(log, std::move(args));
}

RuntimeFailure runtime_failure(const std::string& log) {
  RuntimeFailure failure;
  failure.text = last_line(read_file(log, kMaxLogBytes).value_or(""));
  if (failure.text.empty()) failure.text = "the runtime failed and said nothing";
  for (int error : kErrors) {
    if (failure.text.ends_with(std::strerror(error))) failure.error = error;
  }
  failure.program = failure.text.find("executable") != std::string::npos ||
                    failure.text.find("exec ") != std::string::npos;
  if (failure.program && failure.error == 0) {
    failure.error = failure.text.find("not found") != std::string::npos ? ENOENT : EACCES;
  }
  return failure;
}

}  // namespace sluice::agent
