#include "agent/init/data_disk.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <deque>

#include "agent/init/swap.h"
#include "base/unique_fd.h"

namespace sluice::agent {

namespace {

using Kind = DiskContent::Kind;
using Result = BootReport::Result;

/// A disk that is one thing after the other, and what was done to it.
struct Scripted {
  std::deque<DiskContent> contents;
  int format_error = 0;
  int mount_error = 0;
  std::string done;

  DiskWork work() {
    return {.look =
                [this] {
                  DiskContent content = contents.front();
                  contents.pop_front();
                  return content;
                },
            .format =
                [this](std::string& why) {
                  done += "format;";
                  why = "mkfs said no";
                  return format_error;
                },
            .mount =
                [this](const std::string& type, std::string& why) {
                  done += "mount " + type + ";";
                  why = "mount said no";
                  return mount_error;
                }};
  }
};

const DataDisk kKeep{.device = "/dev/vdb", .path = "/data"};
const DataDisk kFormat{.device = "/dev/vdb", .path = "/data", .format_if_blank = true};
const DiskContent kBlank{.kind = Kind::blank, .what = "blank"};
const DiskContent kExt4{.kind = Kind::file_system, .what = "ext4"};
const DiskContent kBroken{.kind = Kind::unreadable, .what = "read at byte 0", .error = EIO};

}  // namespace

TEST_CASE("a file system is mounted and never made anew") {
  for (const DataDisk& disk : {kKeep, kFormat}) {
    Scripted scripted{.contents = {kExt4}};
    StepEnd end = use_data_disk(disk, scripted.work());
    CHECK(end.result == Result::done);
    CHECK(end.message == "ext4 on /data");
    CHECK(scripted.done == "mount ext4;");
  }
}

TEST_CASE("a blank disk is formatted only where the host says so") {
  Scripted kept{.contents = {kBlank}};
  StepEnd end = use_data_disk(kKeep, kept.work());
  CHECK(end.result == Result::failed);
  CHECK(end.message.find("format=if-blank") != std::string::npos);
  CHECK(kept.done.empty());
  Scripted made{.contents = {kBlank, kExt4}};
  end = use_data_disk(kFormat, made.work());
  CHECK(end.result == Result::done);
  CHECK(end.message == "was blank, is now ext4 on /data");
  CHECK(made.done == "format;mount ext4;");
}

TEST_CASE("what can't be read, or is something else, is left as it is") {
  for (const DiskContent& content : {kBroken, DiskContent{.kind = Kind::other, .what = "LUKS"},
                                     DiskContent{.kind = Kind::swap, .what = "swap"}}) {
    Scripted scripted{.contents = {content}};
    StepEnd end = use_data_disk(kFormat, scripted.work());
    CHECK(end.result == Result::failed);
    CHECK(end.error == content.error);
    CHECK(end.message.find(content.what) != std::string::npos);
    CHECK(scripted.done.empty());
  }
}

TEST_CASE("a format that fails, or makes nothing, mounts nothing") {
  Scripted refused{.contents = {kBlank}, .format_error = ENOENT};
  StepEnd end = use_data_disk(kFormat, refused.work());
  CHECK(end.result == Result::failed);
  CHECK(end.error == ENOENT);
  CHECK(end.message == "mkfs said no");
  CHECK(refused.done == "format;");
  for (const DiskContent& after : {kBlank, kBroken}) {
    Scripted vain{.contents = {kBlank, after}};
    CHECK(use_data_disk(kFormat, vain.work()).result == Result::failed);
    CHECK(vain.done == "format;");
  }
}

TEST_CASE("a mount that fails formats nothing") {
  Scripted scripted{.contents = {kExt4}, .mount_error = EUCLEAN};
  StepEnd end = use_data_disk(kFormat, scripted.work());
  CHECK(end.result == Result::failed);
  CHECK(end.error == EUCLEAN);
  CHECK(scripted.done == "mount ext4;");
}

TEST_CASE("what is no disk is not used") {
  StepEnd end = mount_data_disk({.device = "/dev/null", .format_if_blank = true});
  CHECK(end.result == Result::failed);
  CHECK(end.error == ENOTBLK);
}

TEST_CASE("without a program that formats it is said which one is missing") {
  char path[] = "/tmp/sluice-disk-XXXXXX";
  UniqueFd fd(::mkstemp(path));
  REQUIRE(::ftruncate(fd.get(), 1 << 20) == 0);
  StepEnd end = mount_data_disk({.device = path, .format_if_blank = true, .mkfs = "/no/such/mkfs"});
  CHECK(end.result == Result::failed);
  CHECK(end.error == ENOENT);
  CHECK(end.message.find("/no/such/mkfs") != std::string::npos);
  ::unlink(path);
}

TEST_CASE("a swap area has its version, its last page and its mark where the kernel looks") {
  auto page = swap_header(std::uint64_t{64} << 20, 4096);
  REQUIRE(page.size() == 4096);
  CHECK(page[1024] == 1);
  CHECK(page[1028] == 0xff);
  CHECK(page[1029] == 0x3f);
  CHECK(std::string(page.begin() + 4086, page.end()) == "SWAPSPACE2");
}

}  // namespace sluice::agent
