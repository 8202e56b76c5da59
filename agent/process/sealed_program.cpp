#include "agent/process/sealed_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice::agent {

namespace {

constexpr off_t kMostCopied = off_t{4} << 20;
/// These and no others, as crun compares them.
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr unsigned kExecutable = 0x10;  ///< MFD_EXEC, Linux 6.3; not in older headers.
constexpr int kFirstOwn = 3;            ///< 0 to 2 are replaced in a child.

/// A script's interpreter couldn't open the descriptor, which is closed by then.
bool is_elf(int fd) {
  char magic[4]{};
  return ::pread(fd, magic, sizeof magic, 0) == sizeof magic &&
         std::memcmp(magic, "\177ELF", sizeof magic) == 0;
}

UniqueFd memory_file(const std::string& name) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(name.c_str(), kFlags | kExecutable));
  if (!fd && errno == EINVAL) fd.reset(::memfd_create(name.c_str(), kFlags));
  return fd;
}

bool is_same(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino && one.st_size == other.st_size &&
         one.st_mtim.tv_sec == other.st_mtim.tv_sec && one.st_mtim.tv_nsec == other.st_mtim.tv_nsec;
}

}  // namespace

SealedProgram::SealedProgram(std::string path, UniqueFd copy) : path_(std::move(path)) {
  if (!copy || ::fcntl(copy.get(), F_GET_SEALS) != kSeals) return;
  copy_ = std::move(copy);
  is_given_ = true;
}

std::string SealedProgram::executable() {
  struct stat found{};
  if (!is_given_ && ::stat(path_.c_str(), &found) == 0 && (!seen_ || !is_same(*seen_, found))) {
    seen_ = found;
    copy();
  }
  return copy_ ? fmt::format("/proc/self/fd/{}", copy_.get()) : path_;
}

void SealedProgram::copy() {
  copy_.reset();
  UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat found{};
  struct statvfs system{};
  if (!file || ::fstat(file.get(), &found) != 0 || !S_ISREG(found.st_mode) ||
      found.st_size > kMostCopied || (found.st_mode & 0111) == 0 || !is_elf(file.get()) ||
      ::fstatvfs(file.get(), &system) != 0 || (system.f_flag & ST_RDONLY) != 0) {
    return;
  }
  UniqueFd copy = memory_file(path_.substr(path_.rfind('/') + 1));
  if (copy.get() < kFirstOwn) return;
  for (off_t done = 0; done < found.st_size;) {
    ssize_t sent =
        ::sendfile(copy.get(), file.get(), nullptr, static_cast<std::size_t>(found.st_size - done));
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    done += sent;
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, kSeals) == 0) copy_ = std::move(copy);
}

}  // namespace sluice::agent
