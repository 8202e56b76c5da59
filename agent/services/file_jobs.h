#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/worker/job.h"

// What the service File does, in workers. Each says what came of it, or why not.

namespace sluice::agent {

/// Where a call's file is: a path within a directory that stands for "/", itself within another.
struct FileAt {
  std::string base = "/";  ///< Of the VM, or of a container.
  std::string root;        ///< Within `base`; empty: all of it.
  std::string path;
};

struct WriteOrder {
  enum class Way { replace, create, append, in_place };
  Way way = Way::replace;
  unsigned mode = 0;  ///< 0: as the old file, or 0644.
};

struct CopyInOrder {
  bool keep_owners = false;
  bool devices = false;
  std::uint64_t max_bytes = UINT64_MAX;
};

void stat_file(const FileAt& at, bool follow, JobIo& io);
void list_files(const FileAt& at, std::uint64_t after, JobIo& io);
void read_from_file(const FileAt& at, std::uint64_t offset, std::uint64_t limit, JobIo& io);
void write_to_file(const FileAt& at, const WriteOrder& order, JobIo& io);
void copy_in(const FileAt& at, const CopyInOrder& order, JobIo& io);
void copy_out(const FileAt& at, const std::string& name, bool follow, JobIo& io);
void remove_file(const FileAt& at, bool recursive, bool missing_ok, JobIo& io);
void make_directory(const FileAt& at, bool parents, unsigned mode, JobIo& io);

}  // namespace sluice::agent
