#include "hostd/api/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "hostd/directories.h"

namespace sluice::hostd {

namespace {

std::string directory_of(const std::string& path) {
  std::string directory = std::filesystem::path(path).parent_path();
  return directory.empty() ? "." : directory;
}

std::int64_t wall_time_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Result<std::unique_ptr<EventFile>> EventFile::open(Options options) {
  std::unique_ptr<EventFile> file(
      new EventFile(std::move(options)));  // NOLINT: private constructor
  file->made_directory_ = make_parent_directory(file->options_.path);
  if (Status status = file->open_path(); !status) return status;
  file->thread_ = std::thread([raw = file.get()] { raw->run(); });
  return file;
}

EventFile::~EventFile() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Status EventFile::open_path() {
  // A FIFO without a reader, or a full one, must not hold anybody up.
  UniqueFd fd(::open(options_.path.c_str(),
                     O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) {
    return Status::from_errno(errno, fmt::format("--event-file {}: open", options_.path));
  }
  fd_ = std::move(fd);
  is_regular_ = S_ISREG(info.st_mode);
  size_ = is_regular_ ? static_cast<std::uint64_t>(info.st_size) : 0;
  return Status::ok();
}

Status EventFile::check_rotation() const {
  std::string directory = directory_of(options_.path);
  if (options_.max_bytes == 0 || !is_regular_ || ::access(directory.c_str(), W_OK | X_OK) == 0) {
    return Status::ok();
  }
  return Status(StatusCode::permission_denied,
                fmt::format("--event-file {}: the user that hostd runs as can't rename files in "
                            "{}; choose a directory of that user's, or --event-file-size 0",
                            options_.path, directory));
}

void EventFile::append(std::string line) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_bytes_ + line.size() > kMaxWaitingBytes) {
      ++counters_.lost;
      return;
    }
    waiting_bytes_ += line.size();
    waiting_.push_back(std::move(line));
  }
  wake_.notify_one();
}

void EventFile::reopen() {
  {
    std::lock_guard lock(mutex_);
    must_reopen_ = true;
  }
  wake_.notify_one();
}

EventFile::Counters EventFile::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

void EventFile::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return is_stopping_ || must_reopen_ || !waiting_.empty(); });
    bool must_reopen = std::exchange(must_reopen_, false);
    std::deque<std::string> lines = std::exchange(waiting_, {});
    if (lines.empty() && !must_reopen && is_stopping_) return;
    lock.unlock();
    // What came before belongs to the former file.
    for (const std::string& line : lines) take(line);
    if (must_reopen) {
      if (Status status = open_path(); !status) log_line(LogLevel::error, status.message());
    }
    lock.lock();
    for (const std::string& line : lines) waiting_bytes_ -= line.size();
  }
}

void EventFile::take(const std::string& line) {
  Status status = Status::ok();
  if (std::uint64_t lost = counters().lost - told_lost_; lost > 0) {
    // Goes before the first line that is not lost.
    status = write_line(
        fmt::format(R"({{"event":"lost","time_ns":{},"count":{}}})", wall_time_ns(), lost));
    if (status) {
      told_lost_ += lost;
      is_failing_ = false;
      log(LogLevel::notice, "--event-file {}: takes events again; {} were lost", options_.path,
          lost);
    }
  }
  if (status) status = write_line(line);
  if (!status && !std::exchange(is_failing_, true)) {
    log(LogLevel::error, "{}; events are lost until that is mended", status.message());
  }
  std::lock_guard lock(mutex_);
  ++(status ? counters_.written : counters_.lost);
}

Status EventFile::write_line(std::string_view line) {
  std::string text(line);
  text += '\n';
  if (!fd_) {
    if (Status status = open_path(); !status) return status;
  }
  if (options_.max_bytes > 0 && is_regular_ && size_ > 0 &&
      size_ + text.size() > options_.max_bytes) {
    if (Status status = rotate(); !status) return status;
  }
  ssize_t count = ::write(fd_.get(), text.data(), text.size());
  if (count == static_cast<ssize_t>(text.size())) {
    size_ += text.size();
    return Status::ok();
  }
  int error = count < 0 ? errno : ENOSPC;
  // Half a line would spoil the next one.
  if (count > 0 && is_regular_)
    static_cast<void>(!::ftruncate(fd_.get(), static_cast<off_t>(size_)));
  return Status::from_errno(error, fmt::format("--event-file {}: write", options_.path));
}

Status EventFile::rotate() {
  auto numbered = [&](unsigned number) { return fmt::format("{}.{}", options_.path, number); };
  for (unsigned number = options_.keep; number > 1; --number) {
    if (std::rename(numbered(number - 1).c_str(), numbered(number).c_str()) != 0 &&
        errno != ENOENT) {
      return Status::from_errno(errno, fmt::format("--event-file {}: rename", options_.path));
    }
  }
  if (std::rename(options_.path.c_str(), numbered(1).c_str()) != 0 && errno != ENOENT) {
    return Status::from_errno(errno, fmt::format("--event-file {}: rename", options_.path));
  }
  fd_.reset();
  return open_path();
}

}  // namespace sluice::hostd
