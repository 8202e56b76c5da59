#include "hostd/ctl/guest_copy.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "agent/archive/root.h"
#include "agent/archive/stream.h"
#include "hostd/ctl/guest_text.h"

namespace sluice::ctl {

namespace {

using agent::client::FileInfo;
using agent::client::FilePlace;
using agent::client::LinkAtEnd;
using agent::client::Owners;
using agent::rpc::CallError;
using agent::rpc::Code;

constexpr const char* kVm = "vm";

bool means_contents(const std::string& path) {
  return path == "." || path.ends_with("/.");
}

FoundAt found_here(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return FoundAt::nothing;
  return S_ISDIR(found.st_mode) ? FoundAt::directory : FoundAt::file;
}

FoundAt found_at(unsigned mode) {
  return S_ISDIR(mode) ? FoundAt::directory : FoundAt::file;
}

/// A path's last name; of one that has none (".", "..", "/") that of the directory that it is.
std::string base_name(const std::string& path) {
  std::string name = agent::split_path(path).name;
  if (!name.empty() && name != "..") return name;
  char real[PATH_MAX];
  if (!::realpath(path.c_str(), real)) return ".";
  name = agent::split_path(static_cast<const char*>(real)).name;
  return name.empty() ? "." : name;
}

std::string above(const std::string& path) {
  std::string split = agent::split_path(path).above;
  if (path.starts_with('/')) return "/" + split;
  return split.empty() ? "." : split;
}

}  // namespace

CopySide CopySide::parse(const std::string& text) {
  CopySide side;
  side.path = text;
  side.is_stream = text == "-";
  std::size_t colon = text.find(':');
  if (side.is_stream || colon == std::string::npos || colon == 0 || text.find('/') < colon) {
    return side;
  }
  side.is_guest = true;
  side.container = text.substr(0, colon);
  if (side.container == kVm) side.container.clear();
  side.path = text.substr(colon + 1);
  if (!side.path.starts_with('/')) side.path = "/" + side.path;
  return side;
}

std::optional<CopyTarget> copy_target(const std::string& from, bool from_is_directory,
                                      const std::string& to, FoundAt found, std::string& why) {
  bool contents = from_is_directory && means_contents(from);
  if (found == FoundAt::directory) {
    return CopyTarget{to, contents ? "." : base_name(from)};
  }
  if (found == FoundAt::file && from_is_directory) {
    why = fmt::format("{} is a directory, and {} is none", from, to);
    return std::nullopt;
  }
  if (found == FoundAt::nothing && to.ends_with('/') && !from_is_directory) {
    why = fmt::format("there is no directory {}", to);
    return std::nullopt;
  }
  return CopyTarget{above(to), agent::split_path(to).name};
}

void GuestCopy::fail(const std::string& why) {
  print_error(why);
  end_(kFailed);
}

void GuestCopy::begin(agent::client::Caller& caller, std::function<void(int)> end) {
  caller_ = &caller;
  end_ = std::move(end);
  // A process that has failed reads no more, and says why itself.
  std::signal(SIGPIPE, SIG_IGN);
  if (from_.is_guest == to_.is_guest) {
    return fail("one of both is in the guest: vm:PATH or CONTAINER:PATH");
  }
  const CopySide& far = from_.is_guest ? from_ : to_;
  agent::client::stat_file(
      caller, {.path = far.path, .container = far.container, .root = ""},
      to_.is_guest || means_contents(from_.path) ? LinkAtEnd::followed : LinkAtEnd::kept,
      [this](const CallError& error, const FileInfo& info) {
        bool is_missing = error.code == Code::not_found && error.error == ENOENT;
        if (to_.is_guest && is_missing) return upload(FoundAt::nothing);
        if (!worked(error, end_)) return;
        if (to_.is_guest) return upload(found_at(info.mode));
        download(S_ISDIR(info.mode));
      });
}

void GuestCopy::upload(FoundAt found) {
  if (from_.is_stream) {
    if (found != FoundAt::directory) return fail(fmt::format("{} is no directory", to_.path));
    return send(STDIN_FILENO, to_.path);
  }
  struct stat here{};
  if (::lstat(from_.path.c_str(), &here) != 0) {
    return fail(fmt::format("{}: {}", from_.path, std::strerror(errno)));
  }
  std::string why;
  auto target = copy_target(from_.path,
                            found_here(from_.path) == FoundAt::directory && !S_ISLNK(here.st_mode),
                            to_.path, found, why);
  if (!target) return fail(why);
  bool is_contents = S_ISDIR(here.st_mode) && means_contents(from_.path);
  std::string path = from_.path;
  if (is_contents) path = path == "." ? "." : path.substr(0, path.size() - 1);
  // "." as the name packs the content of a directory; so does a name for the whole of it.
  if (S_ISDIR(here.st_mode) && target->name != ".") {
    char real[PATH_MAX];
    if (!::realpath(path.c_str(), real)) {
      return fail(fmt::format("{}: {}", path, std::strerror(errno)));
    }
    path = static_cast<const char*>(real);
  }
  has_tar_ = tar_.pack(path, target->name);
  if (!has_tar_) return fail(fmt::format("fork: {}", std::strerror(errno)));
  send(tar_.pipe(), target->directory);
}

/// An archive from a descriptor into a directory of the guest.
void GuestCopy::send(int fd, const std::string& directory) {
  pump_ = std::make_unique<InputPump>(loop_, fd, [this](int error) {
    if (error != 0) return fail(fmt::format("read: {}", std::strerror(error)));
    // Where packing has failed the archive has no end, and the call is given up.
    if (has_tar_ && !tar_.finish()) return end_(kFailed);
    upload_->finish();
  });
  upload_ =
      agent::client::copy_in(*caller_, {.path = directory, .container = to_.container, .root = ""},
                             asked_.archive ? Owners::as_they_are : Owners::roots,
                             {.on_room = [this] { pump_->pump(); },
                              .on_end =
                                  [this](const CallError& error, ConstBytes) {
                                    if (worked(error, end_)) end_(0);
                                  }});
  pump_->begin(*upload_);
}

void GuestCopy::download(bool is_directory) {
  std::string why;
  std::string name;
  int out = STDOUT_FILENO;
  if (!to_.is_stream) {
    auto target = copy_target(from_.path, is_directory, to_.path, found_here(to_.path), why);
    if (!target) return fail(why);
    has_tar_ = tar_.unpack(target->directory, target->name, asked_.archive);
    if (!has_tar_) return fail(fmt::format("fork: {}", std::strerror(errno)));
    out = tar_.pipe();
    name = target->name;
  } else if (is_directory && means_contents(from_.path)) {
    name = ".";
  }
  download_ = agent::client::copy_out(
      *caller_, {.path = from_.path, .container = from_.container, .root = ""}, name,
      {.on_bytes =
           [this, out](ConstBytes bytes) {
             agent::FdSink sink(out);
             if (Status status = sink.write(bytes); !status) {
               // Whoever unpacks has said why.
               if (!has_tar_) return fail(status.message());
               [[maybe_unused]] bool failed = tar_.finish();
               return end_(kFailed);
             }
             download_->consumed(bytes.size());
           },
       .on_end =
           [this](const CallError& error) {
             // First, so that no half of an archive is complained about beside it.
             if (!worked(error, end_)) return;
             end_(!has_tar_ || tar_.finish() ? 0 : kFailed);
           }});
}

int GuestCommands::copy(const CopyAsked& asked) {
  return run([&asked](UvLoop& loop, agent::client::Caller& caller, const End& end) {
    auto copy = std::make_shared<GuestCopy>(loop, asked);
    copy->begin(caller, end);
    return copy;
  });
}

}  // namespace sluice::ctl
