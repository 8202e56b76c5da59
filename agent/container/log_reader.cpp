#include "agent/container/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/container/log_files.h"
#include "agent/container/log_json.h"
#include "agent/container/log_scan.h"

namespace sluice::agent {

namespace {

constexpr std::size_t kReadBytes = kMaxLogData + kLogOverhead;

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
  return files.back() + (file ? end_of_log_file(file.get()) : 0);
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

/// What there is of the file from position_ on: `bytes` at least, or nothing. It reads `most`.
ConstBytes LogReader::fill(std::size_t bytes, std::size_t most) {
  bool inside = position_ >= buffer_at_ && position_ <= buffer_at_ + buffer_.size();
  std::size_t used = inside ? position_ - buffer_at_ : buffer_.size();
  if (buffer_.size() - used < bytes) {
    buffer_.resize(most);
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

/// The whole record at position_ of the file, behind the gaps that may be there.
std::optional<LogReader::Record> LogReader::take() {
  for (;;) {
    ConstBytes first = fill(1, kReadBytes);
    bool is_json = !first.empty() && first[0] == '{';
    auto record = is_json ? take_json() : take_binary();
    if (!record || !record->head.gap) {
      if (record) record->lost = take_lost();
      return record;
    }
    lost_ += load_be64(record->data.data());
  }
}

std::optional<LogReader::Record> LogReader::take_binary() {
  auto head = read_log_head(fill(kLogHeadBytes, kReadBytes));
  if (!head) return std::nullopt;
  std::uint64_t size = log_record_bytes(*head);
  ConstBytes bytes = fill(size, kReadBytes);
  if (bytes.empty() || load_be32(&bytes[size - kLogTailBytes]) != head->length) return std::nullopt;
  position_ += size;
  return Record{
      .head = *head, .data = bytes.subspan(kLogHeadBytes, head->length), .next = position_};
}

std::optional<LogReader::Record> LogReader::take_json() {
  ConstBytes bytes = fill(1, kReadBytes);
  auto end = std::find(bytes.begin(), bytes.end(), '\n');
  if (end == bytes.end()) {
    buffer_.clear();
    bytes = fill(1, kMaxLogJsonLine);
    end = std::find(bytes.begin(), bytes.end(), '\n');
  }
  if (end == bytes.end()) return std::nullopt;
  auto length = static_cast<std::size_t>(end - bytes.begin());
  auto line = parse_log_json({reinterpret_cast<const char*>(bytes.data()), length});
  if (!line) return std::nullopt;
  line_ = std::move(line->data);
  position_ += length + 1;
  return Record{.head = line->head, .data = line_, .next = position_};
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
    std::uint64_t end = end_of_log_file(fd.get());
    if (file == files.rbegin()) place.at = *file + end;
    for (auto piece = log_piece_before(fd.get(), end); piece;
         piece = log_piece_before(fd.get(), end)) {
      end = piece->at;
      if (piece->head.gap || (piece->head.is_stderr ? !wanted.err : !wanted.out)) continue;
      const auto& data = piece->data;
      for (std::size_t i = data.size(); i > 0; --i) {
        if (data[i - 1] == '\n' && !is_last && lines-- == 1) {
          return {.at = *file + (i == data.size() ? piece->end : piece->at),
                  .skip = i == data.size() ? 0 : i};
        }
        // The end of the last line begins no other.
        is_last = false;
      }
      place = {.at = *file + piece->at, .skip = 0};
    }
  }
  return place;
}

}  // namespace sluice::agent
