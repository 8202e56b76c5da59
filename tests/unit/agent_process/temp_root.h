#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace sluice::agent {

/// A directory that is gone again with the test.
class TempRoot {
 public:
  TempRoot() {
    char name[] = "/tmp/sluice-agent-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  TempRoot(const TempRoot&) = delete;
  TempRoot& operator=(const TempRoot&) = delete;
  ~TempRoot() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  /// Writes a file below it, with the directories above.
  std::string write(const std::string& name, std::string_view text, bool executable = false) {
    std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    if (executable) {
      std::filesystem::permissions(file, std::filesystem::perms(0755));
    }
    return file;
  }

 private:
  std::string path_;
};

}  // namespace sluice::agent
