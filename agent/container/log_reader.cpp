#include "agent/container/log_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "agent/container/log_files.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kReadBytes = kMaxLogData + kLogOverhead;

std::optional<LogHead> head_at(int fd, std::uint64_t at) {
  std::array<std::uint8_t, kLogHeadBytes> bytes{};
  ssize_t got = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
  return got == static_cast<ssize_t>(bytes.size()) ? read_log_head(bytes) : std::nullopt;
}

std::uint64_t size_of(int fd) {
  struct stat file{};
  return ::fstat(fd, &file) == 0 ? static_cast<std::uint64_t>(file.st_size) : 0;
}

/// The record that ends at `end` of the file, if there is one; its head's place in `at`.
std::optional<LogHead> head_before(int fd, std::uint64_t end, std::uint64_t& at) {
  std::array<std::uint8_t, kLogTailBytes> tail{};
  if (end < kLogOverhead ||
      ::pread(fd, tail.data(), tail.size(), static_cast<off_t>(end - kLogTailBytes)) !=
          static_cast<ssize_t>(tail.size())) {
    return std::nullopt;
  }
  std::uint64_t size = kLogOverhead + load_be32(tail.data());
  if (size > end) return std::nullopt;
  auto head = head_at(fd, end - size);
  if (!head || log_record_bytes(*head) != size) return std::nullopt;
  at = end - size;
  return head;
}

/// Of a file, behind its last whole record. Forward only where its end is torn.
std::uint64_t end_in(int fd) {
  std::uint64_t size = size_of(fd);
  std::uint64_t at = 0;
  if (size == 0 || head_before(fd, size, at)) return size;
  at = 0;
  for (auto head = head_at(fd, 0); head && at + log_record_bytes(*head) <= size;
       head = head_at(fd, at)) {
    at += log_record_bytes(*head);
  }
  return at;
}

UniqueFd open_read(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

}  // namespace

void LogReader::seek(std::uint64_t place) {
  position_ = place;
  lost_ = 0;
  file_.reset();
  buffer_.clear();
}

std::uint64_t LogReader::begin() const {
  auto files = log_files_in(directory_);
  return files.empty() ? 0 : files.front();
}

std::uint64_t LogReader::end() const {
  auto files = log_files_in(directory_);
  if (files.empty()) return 0;
  UniqueFd file = open_read(log_file_path(directory_, files.back()));
  return files.back() + (file ? end_in(file.get()) : 0);
}

/// The file that position_ is in, or the first after it.
bool LogReader::open_file() {
  auto files = log_files_in(directory_);
  if (files.empty()) return false;
  auto after = std::upper_bound(files.begin(), files.end(), position_);
  std::uint64_t first = after == files.begin() ? files.front() : *std::prev(after);
  file_ = open_read(log_file_path(directory_, first));
  if (!file_) return false;
  first_ = first;
  buffer_.clear();
  if (first > position_) {
    lost_ += first - position_;
    position_ = first;
  }
  return true;
}

/// The file that begins at position_, where the present one has ended there.
bool LogReader::open_next() {
  if (position_ == first_) return false;
  UniqueFd next = open_read(log_file_path(directory_, position_));
  if (!next) return false;
  file_ = std::move(next);
  first_ = position_;
  buffer_.clear();
  return true;
}

/// What there is of the file from position_ on: `bytes` at least, or nothing.
ConstBytes LogReader::fill(std::size_t bytes) {
  bool inside = position_ >= buffer_at_ && position_ <= buffer_at_ + buffer_.size();
  std::size_t used = inside ? position_ - buffer_at_ : buffer_.size();
  if (buffer_.size() - used < bytes) {
    buffer_.resize(kReadBytes);
    buffer_at_ = position_;
    used = 0;
    ssize_t got;
    do {
      got = ::pread(file_.get(), buffer_.data(), buffer_.size(),
                    static_cast<off_t>(position_ - first_));
    } while (got < 0 && errno == EINTR);
    buffer_.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (buffer_.size() < bytes) return {};
  }
  return ConstBytes(buffer_).subspan(used);
}

/// The whole record at position_ of the file.
std::optional<LogReader::Record> LogReader::take() {
  auto head = read_log_head(fill(kLogHeadBytes));
  if (!head) return std::nullopt;
  std::uint64_t size = log_record_bytes(*head);
  ConstBytes bytes = fill(size);
  if (bytes.empty() || load_be32(&bytes[size - kLogTailBytes]) != head->length) return std::nullopt;
  position_ += size;
  return Record{.head = *head,
                .data = bytes.subspan(kLogHeadBytes, head->length),
                .next = position_,
                .lost = std::exchange(lost_, 0)};
}

std::optional<LogReader::Record> LogReader::next() {
  if (!file_ && !open_file()) return std::nullopt;
  // Each turn goes on to a later file.
  for (;;) {
    if (auto record = take()) return record;
    // What was read may have been half of what comes.
    buffer_.clear();
    if (open_next()) continue;
    auto files = log_files_in(directory_);
    auto after = std::upper_bound(files.begin(), files.end(), std::max(position_, first_));
    if (after == files.end()) return std::nullopt;
    // There is a later file: whatever was written to this one before it is there by now.
    if (auto record = take()) return record;
    buffer_.clear();
    if (open_next()) continue;
    lost_ += *after - position_;
    position_ = *after;
    if (!open_file()) return std::nullopt;
  }
}

LogReader::Place LogReader::tail(std::uint64_t lines, Wanted wanted) const {
  auto files = log_files_in(directory_);
  Place place;
  bool is_last = true;
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    UniqueFd fd = open_read(log_file_path(directory_, *file));
    if (!fd) break;
    std::uint64_t end = end_in(fd.get());
    if (file == files.rbegin()) place.at = *file + end;
    std::uint64_t at = 0;
    std::vector<std::uint8_t> data;
    for (auto head = head_before(fd.get(), end, at); head; head = head_before(fd.get(), end, at)) {
      end = at;
      if (head->is_stderr ? !wanted.err : !wanted.out) continue;
      data.resize(head->length);
      ssize_t got =
          ::pread(fd.get(), data.data(), data.size(), static_cast<off_t>(at + kLogHeadBytes));
      data.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      for (std::size_t i = data.size(); i > 0; --i) {
        if (data[i - 1] == '\n' && !is_last && lines-- == 1) {
          return {.at = i == data.size() ? *file + at + log_record_bytes(*head) : *file + at,
                  .skip = i == data.size() ? 0 : i};
        }
        // The end of the last line begins no other.
        is_last = false;
      }
      place = {.at = *file + at, .skip = 0};
    }
  }
  return place;
}

}  // namespace sluice::agent
