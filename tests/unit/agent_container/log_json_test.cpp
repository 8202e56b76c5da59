#include "agent/container/log_json.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "agent/container/log_files.h"
#include "agent/container/log_reader.h"
#include "agent/container/log_writer.h"
#include "agent/os/clock.h"
#include "agent_container/temp_directory.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

// 2026-01-31T10:00:00.000000007Z
constexpr std::int64_t kTime = 1'769'853'600'000'000'007;

ConstBytes bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string written(const std::string& data, bool is_stderr = false) {
  std::string line;
  append_log_json(line, is_stderr, kTime, bytes(data));
  return line;
}

std::optional<LogLine> read(std::string line) {
  if (line.ends_with('\n')) line.pop_back();
  return parse_log_json(line);
}

LogWriter open_log(const TempDirectory& directory, std::uint64_t file_bytes = 1 << 20) {
  auto writer = LogWriter::open(
      directory.path(), {.file_bytes = file_bytes, .files = 100, .format = LogFormat::json});
  REQUIRE(writer);
  return std::move(*writer);
}

std::string rest(LogReader& reader) {
  std::string all;
  while (auto record = reader.next()) {
    all.append(reinterpret_cast<const char*>(record->data.data()), record->data.size());
  }
  return all;
}

}  // namespace

TEST_CASE("a line is as docker writes it") {
  CHECK(written("hello\n") ==
        R"({"log":"hello\n","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z"})"
        "\n");
  CHECK(written("no end", true) ==
        R"({"log":"no end","stream":"stderr","time":"2026-01-31T10:00:00.000000007Z"})"
        "\n");
  CHECK(
      written("\"a\\b\"\t\x1b[0m\r\n").starts_with(R"({"log":"\"a\\b\"\u0009\u001b[0m\u000d\n",)"));
  CHECK(written("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80")
            .starts_with("{\"log\":\"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\",\"stream\""));
}

TEST_CASE("what is no UTF-8 is replaced for others, and is what it was for us") {
  for (std::string data :
       {"caf\xE9\n", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xFF"}) {
    std::string line = written(data);
    CHECK(line.find("\xEF\xBF\xBD") != std::string::npos);
    CHECK(line.find(R"(,"raw":")") != std::string::npos);
    auto back = read(line);
    REQUIRE(back);
    CHECK(std::string(back->data.begin(), back->data.end()) == data);
  }
}

TEST_CASE("each line reads as it was written, whatever bytes are in it") {
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string data(random() % 200, '\0');
    for (char& c : data) c = static_cast<char>(random() % (i % 2 == 0 ? 256 : 128));
    bool is_stderr = random() % 2 == 0;
    auto back = read(written(data, is_stderr));
    REQUIRE(back);
    CHECK(std::string(back->data.begin(), back->data.end()) == data);
    CHECK(back->head.is_stderr == is_stderr);
    CHECK(back->head.time_ns == kTime);
    CHECK(back->head.partial == (!data.empty() && data.back() != '\n'));
  }
}

TEST_CASE("the longest line has room") {
  for (char c : {'\0', '\xff', 'a'}) {
    std::string line = written(std::string(kMaxLogJsonData, c));
    CHECK(line.size() <= kMaxLogJsonLine);
    CHECK(read(line));
  }
  CHECK_FALSE(read(written(std::string(kMaxLogJsonData + 1, 'a'))));
}

TEST_CASE("what is no such line is refused") {
  std::string good = written("a\n");
  good.pop_back();
  REQUIRE(parse_log_json(good));
  for (std::size_t i = 0; i < good.size(); ++i) CHECK_FALSE(parse_log_json(good.substr(0, i)));
  CHECK_FALSE(parse_log_json(good + "}"));
  for (const char* bad :
       {R"({"log":"\q","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z"})",
        R"({"log":"\u00","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z"})",
        R"({"log":"\u0080","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z"})",
        R"({"log":"a","stream":"stdin","time":"2026-01-31T10:00:00.000000007Z"})",
        R"({"log":"a","stream":"stdout","time":"2026-01-31T10:00:00Z"})",
        R"({"log":"a","stream":"stdout","time":"9999-01-31T10:00:00.000000007Z"})",
        R"({"log":"a","stream":"stdout","time":"2026-02-29T10:00:00.000000007Z"})",
        R"({"log":"a","stream":"stdout","time":"2026-13-01T10:00:00.000000007Z"})",
        R"({"log":"a","stream":"stdout","time":"2026-01-31T24:00:00.000000007Z"})",
        R"({"log":"a","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z","raw":"6"})",
        R"({"log":"a","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z","raw":"6g"})"}) {
    CHECK_FALSE(parse_log_json(bad));
  }
}

TEST_CASE("a gap is an empty line to others, and says what is missing to us") {
  std::string line;
  append_log_json_gap(line, kTime, 1234);
  CHECK(line ==
        R"({"log":"","stream":"stdout","time":"2026-01-31T10:00:00.000000007Z","lost":"1234"})"
        "\n");
  TempDirectory directory;
  directory.write(log_file_name(0), written("one\n") + line + written("two\n"));
  LogReader reader(directory.path());
  CHECK(reader.next()->lost == 0);
  auto record = reader.next();
  REQUIRE(record);
  CHECK(record->lost == 1234);
  CHECK(record->head.length == 4);
  CHECK_FALSE(reader.next());
}

TEST_CASE("output becomes a line of JSON for each of its lines, cut where one is long") {
  TempDirectory directory;
  LogWriter writer = open_log(directory);
  std::string long_line(kMaxLogJsonData + 5, 'x');
  writer.append(false, kTime, bytes("one\ntwo\n\npart"));
  writer.append(true, kTime, bytes(long_line + "\n"));
  CHECK(directory.read(log_file_name(0)) ==
        written("one\n") + written("two\n") + written("\n") + written("part") +
            written(long_line.substr(5), true) + written("xxxxx\n", true));
  LogReader reader(directory.path());
  CHECK(rest(reader) == "one\ntwo\n\npart" + long_line + "\n");
  CHECK(reader.position() == writer.position());
  CHECK(reader.end() == writer.position());
}

TEST_CASE("a line that was torn is cut off by the next writer, and is none to a reader") {
  TempDirectory directory;
  std::string whole = written("one\n") + written("two\n");
  std::string torn = written("three\n");
  for (std::size_t i : {std::size_t{1}, torn.size() / 2, torn.size() - 1}) {
    directory.write(log_file_name(0), whole + torn.substr(0, i));
    LogReader reader(directory.path());
    CHECK(rest(reader) == "one\ntwo\n");
    CHECK(reader.end() == whole.size());
    LogWriter writer = open_log(directory);
    CHECK(writer.position() == whole.size());
    writer.append(false, kTime, bytes("four\n"));
    CHECK(rest(reader) == "four\n");
  }
}

TEST_CASE("times are written and read alike, also before 1970 and on the last of February") {
  CHECK(utc_text(0) == "1970-01-01T00:00:00.000000000Z");
  CHECK(utc_text(-1) == "1969-12-31T23:59:59.999999999Z");
  CHECK(utc_text(951'782'400'000'000'000) == "2000-02-29T00:00:00.000000000Z");
  for (std::int64_t time :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{951'782'400'000'000'001},
        std::int64_t{9'000'000'000'123'456'789}}) {
    CHECK(parse_utc(utc_text(time)) == time);
  }
}

TEST_CASE("many short lines, and such as are many times as long on disk, rotate as others do") {
  TempDirectory directory;
  LogWriter writer = open_log(directory, 64 << 10);
  std::string all(kMaxLogData, '\n');
  writer.append(false, kTime, bytes(all));
  CHECK(log_files_in(directory.path()).size() > 10);
  for (std::uint64_t file : log_files_in(directory.path())) {
    CHECK(directory.read(log_file_name(file)).size() < (64 << 10) + 200);
  }
  LogReader reader(directory.path());
  CHECK(rest(reader) == all);
}
