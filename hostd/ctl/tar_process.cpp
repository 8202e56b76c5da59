#include "hostd/ctl/tar_process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "agent/archive/extract.h"
#include "agent/archive/pack.h"
#include "hostd/ctl/guest_text.h"

namespace sluice::ctl {

namespace {

Status pack_into(const std::string& path, const std::string& as, int out) {
  struct stat found{};
  bool contents = as == "." && ::stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
  agent::FdSink sink(out);
  agent::TarWriter archive(sink);
  // Of a directory's content the directory itself is what is packed, whatever leads to it.
  UniqueFd parent(::open(contents ? path.c_str() : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return agent::os_error(errno, "open " + path);
  if (contents) return agent::pack({std::move(parent), "."}, as, archive);
  agent::SplitPath split = agent::split_path(path);
  std::string above = (path.starts_with('/') ? "/" : "") + split.above;
  parent.reset(::open(above.empty() ? "." : above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) return agent::os_error(errno, "open " + path);
  return agent::pack({std::move(parent), split.name}, as, archive);
}

Status unpack_from(int in, const std::string& directory, const std::string& as, bool owners) {
  auto root = agent::Root::open(directory);
  if (!root) return root.status();
  // The guest may send anything. A link of its making is not to lead to what it wasn't asked for.
  root->refuse_links();
  agent::FdSource source(in);
  agent::TarReader archive(source);
  Status status = agent::extract(archive, *root,
                                 {.is_layer = false,
                                  .devices = owners,
                                  .owners = owners,
                                  .only = as == "." ? std::string() : as});
  return status ? agent::drain(source) : status;
}

}  // namespace

TarProcess::~TarProcess() {
  // Before its pipe is closed, which it would complain about.
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

template <typename Work>
bool TarProcess::start(bool reads, Work work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  pid_ = ::fork();
  if (pid_ < 0) return false;
  UniqueFd& theirs = reads ? reader : writer;
  UniqueFd& ours = reads ? writer : reader;
  if (pid_ == 0) {
    ours.reset();
    std::signal(SIGPIPE, SIG_DFL);
    Status status = work(theirs.get());
    if (!status) print_error(status.message());
    ::_exit(status ? 0 : 1);
  }
  pipe_ = std::move(ours);
  return true;
}

bool TarProcess::pack(const std::string& path, const std::string& as) {
  return start(false, [&](int out) { return pack_into(path, as, out); });
}

bool TarProcess::unpack(const std::string& directory, const std::string& as, bool owners) {
  return start(true, [&](int in) { return unpack_from(in, directory, as, owners); });
}

bool TarProcess::finish() {
  pipe_.reset();
  int status = 0;
  pid_t ended;
  do {
    ended = ::waitpid(pid_, &status, 0);
  } while (ended < 0 && errno == EINTR);
  pid_ = -1;
  return ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace sluice::ctl
