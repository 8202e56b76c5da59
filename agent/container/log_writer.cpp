#include "agent/container/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "agent/container/log_files.h"
#include "agent/container/log_json.h"
#include "agent/container/log_scan.h"
#include "agent/os/file.h"

namespace sluice::agent {

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
  std::uint64_t end = end_of_log_file(writer.file_.get());
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

/// What `put` writes, behind the gap that is still to be told; or a gap of its size.
template <typename Put>
void LogWriter::add(std::uint64_t size, std::int64_t time_ns, Put put) {
  std::uint64_t filled = position_ - first_;
  if (filled > 0 && filled + size > limits_.file_bytes) begin_file();
  if (gap_ > 0) put_gap(time_ns);
  if (gap_ == 0 && put()) return;
  gap_ += size;
  put_gap(time_ns);
}

void LogWriter::append(bool is_stderr, std::int64_t time_ns, ConstBytes data) {
  if (limits_.format == LogFormat::json) return append_json(is_stderr, time_ns, data);
  LogHead head{.length = static_cast<std::uint32_t>(data.size()),
               .is_stderr = is_stderr,
               .partial = !data.empty() && data.back() != '\n',
               .time_ns = time_ns};
  add(log_record_bytes(head), time_ns, [&] { return put(head, data); });
}

void LogWriter::append_json(bool is_stderr, std::int64_t time_ns, ConstBytes data) {
  std::string lines;
  while (!data.empty()) {
    auto end = std::find(data.begin(), data.end(), '\n');
    std::size_t size = static_cast<std::size_t>(end - data.begin()) + (end == data.end() ? 0 : 1);
    size = std::min(size, kMaxLogJsonData);
    append_log_json(lines, is_stderr, time_ns, data.first(size));
    data = data.subspan(size);
    // Short lines are many times as long here.
    if (lines.size() < kMaxLogData && !data.empty()) continue;
    add(lines.size(), time_ns, [&] { return put(lines); });
    lines.clear();
  }
}

/// A whole record, or nothing of it.
bool LogWriter::put(const LogHead& head, ConstBytes data) {
  std::array<std::uint8_t, kLogHeadBytes> before{};
  std::array<std::uint8_t, kLogTailBytes> after{};
  write_log_head(head, before.data());
  store_be32(after.data(), head.length);
  std::array<iovec, 3> parts{{{before.data(), before.size()},
                              {const_cast<std::uint8_t*>(data.data()), data.size()},
                              {after.data(), after.size()}}};
  return write(parts);
}

bool LogWriter::put(std::string& lines) {
  iovec part{lines.data(), lines.size()};
  return write({&part, 1});
}

bool LogWriter::write(std::span<const iovec> parts) {
  std::uint64_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  ssize_t written;
  do {
    written = ::writev(file_.get(), parts.data(), static_cast<int>(parts.size()));
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(size)) {
    position_ += size;
    return true;
  }
  [[maybe_unused]] int cut = ::ftruncate(file_.get(), static_cast<off_t>(position_ - first_));
  return false;
}

void LogWriter::put_gap(std::int64_t time_ns) {
  bool is_put = false;
  if (limits_.format == LogFormat::json) {
    std::string line;
    append_log_json_gap(line, time_ns, gap_);
    is_put = put(line);
  } else {
    std::array<std::uint8_t, kLogGapBytes> missing{};
    store_be64(missing.data(), gap_);
    is_put = put({.length = kLogGapBytes, .gap = true, .time_ns = time_ns}, missing);
  }
  if (is_put) gap_ = 0;
}

}  // namespace sluice::agent
