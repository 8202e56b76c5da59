// Any bytes as the files of a log: the reader ends, goes forward only, and finds again by its
// places what it found in a row; a writer goes on behind what is whole.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "agent/container/log_files.h"
#include "agent/container/log_json.h"
#include "agent/container/log_reader.h"
#include "agent/container/log_writer.h"
#include "base/unique_fd.h"
#include "check.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

void write(const std::string& path, ConstBytes bytes) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  FUZZ_CHECK(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

std::size_t read_all(LogReader& reader, std::uint64_t& end) {
  std::size_t count = 0;
  std::uint64_t before = 0;
  while (auto record = reader.next()) {
    FUZZ_CHECK(record->next > before);
    FUZZ_CHECK(record->data.size() == record->head.length);
    before = record->next;
    ++count;
  }
  end = before;
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  static const std::string directory = [] {
    std::string name = "/tmp/fuzz-agent-log-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  ConstBytes in(data + 2, size - 2);
  // Two files, the second where the first byte says.
  std::size_t first = in.size() * data[0] / 256;
  std::uint64_t second = first + data[1] % 4 * 8;
  write(log_file_path(directory, 0), in.first(first));
  if (second > 0) write(log_file_path(directory, second), in.subspan(first));

  LogReader reader(directory);
  std::uint64_t end = 0;
  FUZZ_CHECK(read_all(reader, end) <= in.size() / kLogOverhead);
  for (std::uint64_t lines : {1, 3}) {
    LogReader::Place place = reader.tail(lines, {});
    LogReader from(directory);
    from.seek(place.at);
    std::uint64_t other = 0;
    // Behind damage that a forward reader stops at, there may be more.
    FUZZ_CHECK(read_all(from, other) <= in.size() / kLogOverhead);
  }
  {
    auto writer = LogWriter::open(directory, {.file_bytes = 256, .files = 3});
    FUZZ_CHECK(writer);
    std::uint64_t begin = writer->position();
    writer->append(true, 5, in.first(std::min<std::size_t>(in.size(), 100)));
    LogReader from(directory);
    from.seek(begin);
    auto record = from.next();
    FUZZ_CHECK(record && record->head.is_stderr && record->next == writer->position());
  }
  // Any bytes are read back from the other format's lines, and any line is read as it is written
  // again.
  std::string line;
  append_log_json(line, data[0] % 2 == 1, 5, in);
  line.pop_back();
  auto back = parse_log_json(line);
  FUZZ_CHECK(back && std::equal(back->data.begin(), back->data.end(), in.begin(), in.end()));
  if (auto found = parse_log_json({reinterpret_cast<const char*>(in.data()), in.size()});
      found && !found->head.gap) {
    std::string again;
    append_log_json(again, found->head.is_stderr, found->head.time_ns, found->data);
    again.pop_back();
    auto same = parse_log_json(again);
    FUZZ_CHECK(same && same->data == found->data && same->head.time_ns == found->head.time_ns);
  }
  for (std::uint64_t file : log_files_in(directory))
    ::unlink(log_file_path(directory, file).c_str());
  return 0;
}
