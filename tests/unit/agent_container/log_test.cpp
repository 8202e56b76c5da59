#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "agent/container/log_files.h"
#include "agent/container/log_reader.h"
#include "agent/container/log_writer.h"
#include "agent_container/temp_directory.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

ConstBytes bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string text(ConstBytes data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

LogWriter open_log(const TempDirectory& directory, LogWriter::Limits limits = {}) {
  auto writer = LogWriter::open(directory.path(), limits);
  REQUIRE(writer);
  return std::move(*writer);
}

std::string rest(LogReader& reader, std::uint64_t* lost = nullptr) {
  std::string all;
  while (auto record = reader.next()) {
    all += text(record->data);
    if (lost) *lost += record->lost;
  }
  return all;
}

/// To the log's only file, as no writer of ours would.
void append_raw(const TempDirectory& directory, ConstBytes record) {
  std::ofstream file(log_file_path(directory.path(), 0), std::ios::app | std::ios::binary);
  file.write(reinterpret_cast<const char*>(record.data()),
             static_cast<std::streamsize>(record.size()));
}

std::string line(int number) {
  return "line " + std::to_string(number) + "\n";
}

}  // namespace

TEST_CASE("a record is read as it was written, with its stream, its time and its end") {
  TempDirectory directory;
  LogWriter writer = open_log(directory);
  writer.append(false, 17, bytes("out\n"));
  writer.append(true, 18, bytes(std::string("a\0b\xff", 4)));
  writer.append(false, 19, {});
  LogReader reader(directory.path());
  auto record = reader.next();
  REQUIRE(record);
  CHECK(text(record->data) == "out\n");
  CHECK(record->head.time_ns == 17);
  CHECK_FALSE(record->head.is_stderr);
  CHECK_FALSE(record->head.partial);
  record = reader.next();
  REQUIRE(record);
  CHECK(text(record->data) == std::string("a\0b\xff", 4));
  CHECK(record->head.is_stderr);
  CHECK(record->head.partial);
  record = reader.next();
  REQUIRE(record);
  CHECK(record->data.empty());
  CHECK(record->next == writer.position());
  CHECK_FALSE(reader.next());
  CHECK(reader.end() == writer.position());
}

TEST_CASE("a reader that keeps up loses nothing, however the log rotates") {
  LogFormat format = GENERATE(LogFormat::records, LogFormat::json);
  TempDirectory directory;
  // Nine lines or so.
  std::uint64_t size = format == LogFormat::json ? 700 : 300;
  LogWriter writer = open_log(directory, {.file_bytes = size, .files = 2, .format = format});
  LogReader reader(directory.path());
  std::string read;
  std::uint64_t lost = 0;
  for (int i = 0; i < 500; ++i) {
    writer.append(false, i, bytes(line(i)));
    if (i % 7 == 0) read += rest(reader, &lost);
  }
  read += rest(reader, &lost);
  std::string written;
  for (int i = 0; i < 500; ++i) written += line(i);
  CHECK(read == written);
  CHECK(lost == 0);
  CHECK(log_files_in(directory.path()).size() == 2);
}

TEST_CASE(
    "a reader that has the old file open reads it to its end, then what is left, and says what is "
    "lost") {
  TempDirectory directory;
  LogWriter writer = open_log(directory, {.file_bytes = 300, .files = 2});
  writer.append(false, 0, bytes(line(0)));
  LogReader reader(directory.path());
  REQUIRE(reader.next());
  for (int i = 1; i < 200; ++i) writer.append(false, i, bytes(line(i)));
  std::uint64_t lost = 0;
  std::string read = rest(reader, &lost);
  CHECK(read.starts_with(line(1)));
  CHECK(read.ends_with(line(199)));
  CHECK(lost > 0);
  CHECK(reader.position() == writer.position());
}

TEST_CASE("a reader goes on at any record's place") {
  LogFormat format = GENERATE(LogFormat::records, LogFormat::json);
  TempDirectory directory;
  LogWriter writer = open_log(directory, {.file_bytes = 400, .files = 100, .format = format});
  std::vector<std::uint64_t> places;
  for (int i = 0; i < 100; ++i) {
    places.push_back(writer.position());
    writer.append(false, i, bytes(line(i)));
  }
  for (int i = 0; i < 100; ++i) {
    LogReader reader(directory.path());
    reader.seek(places[static_cast<std::size_t>(i)]);
    auto record = reader.next();
    REQUIRE(record);
    CHECK(text(record->data) == line(i));
    CHECK(record->lost == 0);
  }
}

TEST_CASE("half a record is none, until the rest of it comes") {
  TempDirectory whole;
  LogWriter writer = open_log(whole);
  writer.append(false, 1, bytes("first\n"));
  std::uint64_t first = writer.position();
  writer.append(false, 2, bytes("second\n"));
  std::string file = whole.read(log_file_name(0));
  for (std::size_t size = 0; size <= file.size(); ++size) {
    TempDirectory part;
    part.write(log_file_name(0), file.substr(0, size));
    LogReader reader(part.path());
    std::string expected = size == file.size() ? "first\nsecond\n" : size >= first ? "first\n" : "";
    CHECK(rest(reader) == expected);
    part.write(log_file_name(0), file);
    CHECK(expected + rest(reader) == "first\nsecond\n");
    CHECK(LogReader(part.path()).end() == writer.position());
  }
}

TEST_CASE("a writer cuts off what the one before left unfinished, and goes on") {
  TempDirectory directory;
  {
    LogWriter writer = open_log(directory);
    writer.append(false, 1, bytes("first\n"));
    writer.append(false, 2, bytes("second\n"));
  }
  std::string file = directory.read(log_file_name(0));
  directory.write(log_file_name(0), file.substr(0, file.size() - 3));
  LogWriter writer = open_log(directory);
  writer.append(false, 3, bytes("third\n"));
  LogReader reader(directory.path());
  CHECK(rest(reader) == "first\nthird\n");
}

TEST_CASE("the tail begins with the line that it is to begin with") {
  LogFormat format = GENERATE(LogFormat::records, LogFormat::json);
  TempDirectory directory;
  LogWriter writer = open_log(directory, {.file_bytes = 100, .files = 100, .format = format});
  std::mt19937 random(1);
  std::string all;
  for (int i = 0; i < 60; ++i) all += line(i);
  all += "no end";
  // Cut into records without regard to lines.
  for (std::size_t at = 0; at < all.size();) {
    std::size_t size = std::min<std::size_t>(1 + random() % 30, all.size() - at);
    writer.append(false, 0, bytes(all.substr(at, size)));
    at += size;
  }
  std::vector<std::size_t> begins{0};
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    if (all[i] == '\n') begins.push_back(i + 1);
  }
  for (std::size_t lines = 1; lines <= begins.size() + 2; ++lines) {
    LogReader reader(directory.path());
    LogReader::Place place = reader.tail(lines, {});
    reader.seek(place.at);
    std::string expected = all.substr(begins[begins.size() - std::min(lines, begins.size())]);
    CHECK(rest(reader).substr(place.skip) == expected);
  }
}

TEST_CASE("the tail of one stream leaves the other out of account") {
  LogFormat format = GENERATE(LogFormat::records, LogFormat::json);
  TempDirectory directory;
  LogWriter writer = open_log(directory, {.format = format});
  for (int i = 0; i < 10; ++i) {
    writer.append(false, i, bytes(line(i)));
    writer.append(true, i, bytes("noise\nnoise\n"));
  }
  LogReader reader(directory.path());
  reader.seek(reader.tail(2, {.out = true, .err = false}).at);
  std::string out;
  while (auto record = reader.next()) {
    if (!record->head.is_stderr) out += text(record->data);
  }
  CHECK(out == line(8) + line(9));
}

TEST_CASE("a gap is told with the record behind it, or when there is none") {
  TempDirectory directory;
  LogWriter writer = open_log(directory);
  writer.append(false, 1, bytes("one\n"));
  auto gap = [&](std::uint64_t missing) {
    std::array<std::uint8_t, kLogHeadBytes + kLogGapBytes + kLogTailBytes> record{};
    write_log_head({.length = kLogGapBytes, .gap = true, .time_ns = 2}, record.data());
    store_be64(&record[kLogHeadBytes], missing);
    store_be32(&record[kLogHeadBytes + kLogGapBytes], kLogGapBytes);
    append_raw(directory, record);
  };
  gap(100);
  gap(20);
  writer = open_log(directory);
  writer.append(false, 3, bytes("two\n"));
  gap(7);

  LogReader reader(directory.path());
  auto record = reader.next();
  REQUIRE(record);
  CHECK(record->lost == 0);
  record = reader.next();
  REQUIRE(record);
  CHECK(text(record->data) == "two\n");
  CHECK(record->lost == 120);
  CHECK_FALSE(reader.next());
  CHECK(reader.take_lost() == 7);
  CHECK(reader.take_lost() == 0);
  CHECK(reader.position() == reader.end());

  LogReader last(directory.path());
  auto place = last.tail(1, {});
  last.seek(place.at);
  CHECK(rest(last) == "two\n");
}

TEST_CASE("of a log that isn't there nothing is read") {
  TempDirectory directory;
  LogReader reader(directory.path() + "/none");
  CHECK_FALSE(reader.next());
  CHECK(reader.end() == 0);
  CHECK(reader.begin() == 0);
  CHECK(reader.tail(5, {}).at == 0);
}

TEST_CASE("bytes that are no record end their file and not the log") {
  TempDirectory directory;
  LogWriter writer = open_log(directory, {.file_bytes = 60, .files = 10});
  for (int i = 0; i < 4; ++i) writer.append(false, i, bytes(line(i)));
  auto files = log_files_in(directory.path());
  REQUIRE(files.size() > 2);
  std::string file = directory.read(log_file_name(files[1]));
  file[3] = static_cast<char>(file[3] ^ 1);
  directory.write(log_file_name(files[1]), file);
  LogReader reader(directory.path());
  std::uint64_t lost = 0;
  std::string read = rest(reader, &lost);
  CHECK(read.starts_with(line(0)));
  CHECK(read.ends_with(line(3)));
  CHECK(lost == files[2] - files[1]);
}
