#include "agent/container/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "agent/container/log_files.h"
#include "agent/container/log_record.h"
#include "agent/os/file.h"

namespace sluice::agent {

namespace {

/// The end of the last whole record of a file that begins with one.
std::uint64_t end_of_records(int fd) {
  struct stat file{};
  if (::fstat(fd, &file) != 0) return 0;
  auto size = static_cast<std::uint64_t>(file.st_size);
  std::uint64_t at = 0;
  std::array<std::uint8_t, kLogHeadBytes> bytes{};
  while (at + kLogOverhead <= size) {
    ssize_t got = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    auto head = got == static_cast<ssize_t>(bytes.size()) ? read_log_head(bytes) : std::nullopt;
    if (!head || at + log_record_bytes(*head) > size) break;
    at += log_record_bytes(*head);
  }
  return at;
}

}  // namespace

Result<LogWriter> LogWriter::open(std::string directory, Limits limits) {
  if (Status status = make_directories(directory, 0700); !status) return status;
  LogWriter writer(std::move(directory), limits);
  std::vector<std::uint64_t> files = log_files_in(writer.directory_);
  if (files.empty()) {
    if (!writer.begin_file())
      return Status::from_errno(errno, "make a log in " + writer.directory_);
    return writer;
  }
  writer.first_ = files.back();
  std::string path = log_file_path(writer.directory_, writer.first_);
  writer.file_.reset(::open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  if (!writer.file_) return Status::from_errno(errno, "open " + path);
  std::uint64_t end = end_of_records(writer.file_.get());
  if (::ftruncate(writer.file_.get(), static_cast<off_t>(end)) != 0) {
    return Status::from_errno(errno, "cut " + path);
  }
  writer.position_ = writer.first_ + end;
  return writer;
}

/// False, with errno, where it can't: then the log goes on in the file that it has.
bool LogWriter::begin_file() {
  std::string path = log_file_path(directory_, position_);
  UniqueFd made(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!made) return false;
  file_ = std::move(made);
  first_ = position_;
  remove_old_files();
  return true;
}

void LogWriter::remove_old_files() {
  std::vector<std::uint64_t> files = log_files_in(directory_);
  for (std::size_t i = 0; i + limits_.files < files.size(); ++i) {
    ::unlink(log_file_path(directory_, files[i]).c_str());
  }
}

void LogWriter::append(bool is_stderr, std::int64_t time_ns, ConstBytes data) {
  LogHead head{.length = static_cast<std::uint32_t>(data.size()),
               .is_stderr = is_stderr,
               .partial = !data.empty() && data.back() != '\n',
               .time_ns = time_ns};
  std::uint64_t size = log_record_bytes(head);
  std::uint64_t filled = position_ - first_;
  if (filled > 0 && filled + size > limits_.file_bytes) begin_file();

  std::array<std::uint8_t, kLogHeadBytes> before{};
  std::array<std::uint8_t, kLogTailBytes> after{};
  write_log_head(head, before.data());
  store_be32(after.data(), head.length);
  std::array<iovec, 3> parts{{{before.data(), before.size()},
                              {const_cast<std::uint8_t*>(data.data()), data.size()},
                              {after.data(), after.size()}}};
  ssize_t written;
  do {
    written = ::writev(file_.get(), parts.data(), static_cast<int>(parts.size()));
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(size)) {
    position_ += size;
    return;
  }
  dropped_ += data.size();
  // Half a record is none.
  [[maybe_unused]] int cut = ::ftruncate(file_.get(), static_cast<off_t>(position_ - first_));
}

}  // namespace sluice::agent
