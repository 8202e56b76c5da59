#include "agent/container/shim.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "agent/container/rootfs.h"
#include "agent/container/shim_message.h"
#include "agent/container/unix_socket.h"
#include "agent/os/descriptor.h"
#include "agent/os/file.h"
#include "agent/os/text.h"
#include "base/number.h"
#include "base/uv_loop.h"

namespace sluice::agent {

namespace {

/// For what others than the container's processes hold open of its streams.
constexpr Duration kDrainLimit = std::chrono::milliseconds(100);
/// Of a log in lines of JSON.
constexpr std::size_t kLeastPiece = 512;
/// A terminal without a user may get one again.
constexpr Duration kTerminalRetry = std::chrono::milliseconds(50);
constexpr int kNotRunnable = 126;
constexpr int kNoProgram = 127;
constexpr int kFailed = 125;
constexpr std::size_t kArguments = 6;

bool make_pipe(UniqueFd& reader, UniqueFd& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  reader.reset(ends[0]);
  writer.reset(ends[1]);
  return true;
}

/// How many processes of the cgroup the kernel has killed for its limit of memory.
bool had_oom(const std::string& cgroup) {
  std::string events = read_file(cgroup + "/memory.events").value_or("");
  std::string_view rest = events;
  while (!rest.empty()) {
    std::string_view line = take_part(rest, '\n');
    if (take_part(line, ' ') == "oom_kill")
      return parse_number<std::uint64_t>(line).value_or(0) > 0;
  }
  return false;
}

}  // namespace

std::vector<std::string> ShimArguments::to_args() const {
  return {id, state, log, cgroup, runtime, runtime_root};
}

std::optional<ShimArguments> ShimArguments::parse(const std::vector<std::string>& args) {
  if (args.size() != kArguments) return std::nullopt;
  return ShimArguments{.id = args[0],
                       .state = args[1],
                       .log = args[2],
                       .cgroup = args[3],
                       .runtime = args[4],
                       .runtime_root = args[5]};
}

Shim::Shim(Loop& loop, Children& children, ShimArguments arguments, UniqueFd listener,
           UniqueFd runtime_copy)
    : loop_(loop),
      children_(children),
      arguments_(std::move(arguments)),
      runtime_(arguments_.runtime, arguments_.runtime_root, std::move(runtime_copy)),
      listener_(std::move(listener)) {}

Shim::~Shim() = default;

void Shim::begin(std::function<void()> end) {
  end_ = std::move(end);
  drain_timer_ = loop_.make_timer([this] { finish(); });
  terminal_timer_ = loop_.make_timer([this] {
    for (Output& output : outputs_) {
      if (!output.watch) watch_output(output);
    }
  });
  status_.shim_pid = ::getpid();
  save();
  auto spec = parse_spec(read_file(file(kSpecFile)).value_or(""));
  if (!spec) return fail({.error = 0, .program = false, .text = spec.status().message()});
  spec_ = std::move(*spec);
  LogWriter::Limits limits{
      .file_bytes = spec_.log_file_bytes, .files = spec_.log_files, .format = spec_.log_format};
  // A file that a holder still reads is not to be rotated away.
  window_ = std::min(kMaxHoldWindow, limits.file_bytes * (limits.files - 1) / 2);
  // A line's end is 70 bytes of such a log: what is read at once is to fit into a file.
  if (limits.format == LogFormat::json) {
    piece_ = std::max<std::size_t>(limits.file_bytes / 128, kLeastPiece);
  }
  auto log = LogWriter::open(arguments_.log, limits);
  if (!log) return fail({.error = 0, .program = false, .text = log.status().message()});
  log_.emplace(std::move(*log));
  make_non_blocking(listener_.get());
  listen_watch_ = loop_.watch(listener_.get(), {.readable = true}, [this](FdReady) { accept(); });
  create();
}

void Shim::save() {
  [[maybe_unused]] Status saved = replace_file(file(kStatusFile), to_json(status_), 0600);
}

bool Shim::open_console(std::string& path) {
  path = file("console.sock");
  auto listener = listen_for_console(path);
  if (!listener) return false;
  console_listener_ = std::move(*listener);
  console_watch_ =
      loop_.watch(console_listener_.get(), {.readable = true}, [this](FdReady) { take_console(); });
  return true;
}

void Shim::take_console() {
  UniqueFd peer(::accept4(console_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!peer) return;
  // The runtime sends it at once; it is the one who connects here.
  auto master = receive_descriptor(peer.get());
  console_watch_.reset();
  console_listener_.reset();
  ::unlink(file("console.sock").c_str());
  if (!master) return;
  terminal_ = std::move(master);
  make_non_blocking(terminal_.get());
  if (spec_.terminal) resize_terminal(terminal_.get(), *spec_.terminal);
  if (spec_.open_stdin) input_.reset(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 3));
  outputs_.push_back({.is_stderr = false,
                      .fd = UniqueFd(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 3)),
                      .watch = nullptr});
  watch_output(outputs_.back());
}

bool Shim::open_streams(SpawnPlan& plan, std::vector<UniqueFd>& theirs) {
  if (spec_.open_stdin) {
    UniqueFd reader;
    if (!make_pipe(reader, input_)) return false;
    make_non_blocking(input_.get());
    plan.stdio[0] = reader.get();
    theirs.push_back(std::move(reader));
  }
  for (bool is_stderr : {false, true}) {
    UniqueFd reader;
    UniqueFd writer;
    if (!make_pipe(reader, writer)) return false;
    make_non_blocking(reader.get());
    plan.stdio[is_stderr ? 2 : 1] = writer.get();
    theirs.push_back(std::move(writer));
    outputs_.push_back({.is_stderr = is_stderr, .fd = std::move(reader), .watch = nullptr});
    watch_output(outputs_.back());
  }
  return true;
}

void Shim::create() {
  std::string console;
  std::vector<UniqueFd> theirs;
  bool ready = !spec_.terminal || open_console(console);
  SpawnPlan plan = runtime_.create(arguments_.id, arguments_.state, console);
  if (ready && !spec_.terminal) ready = open_streams(plan, theirs);
  if (!ready) {
    return fail({.error = errno,
                 .program = false,
                 .text = fmt::format("standard streams: {}", std::strerror(errno))});
  }
  Spawned spawned = spawn(plan);
  if (spawned.pid < 0) {
    return fail({.error = spawned.error,
                 .program = false,
                 .text = fmt::format("{}: {}", spawned.step, std::strerror(spawned.error))});
  }
  children_.add(spawned.pid, [this](const Exit& exit) { on_created(exit); });
}

void Shim::on_created(const Exit& exit) {
  if (exit.code != 0) return fail(runtime_failure(file(kRuntimeLog)));
  auto pid = parse_number<pid_t>(read_line(file(kPidFile)));
  if (!pid || *pid <= 1) {
    return fail({.error = 0, .program = false, .text = "the runtime has told no pid"});
  }
  status_.pid = *pid;
  // It is our child now that the runtime has gone.
  children_.add(*pid, [this](const Exit& ended) { on_container_exit(ended); });
  save();
  std::array<std::uint8_t, 5> message{static_cast<std::uint8_t>(ShimWord::created)};
  store_be32(&message[1], static_cast<std::uint32_t>(status_.pid));
  tell(message);
}

void Shim::start() {
  if (starting_ || status_.pid == 0 || exit_) return;
  starting_ = true;
  // The program may have ended by the time that the runtime has.
  status_.started_at_ns = loop_.wall_time_ns();
  if (runtime_.release(arguments_.id)) return on_start_ended({});
  Spawned spawned = spawn(runtime_.start(arguments_.id, arguments_.state));
  if (spawned.pid < 0) {
    return fail({.error = spawned.error,
                 .program = false,
                 .text = fmt::format("{}: {}", spawned.step, std::strerror(spawned.error))});
  }
  children_.add(spawned.pid, [this](const Exit& exit) { on_start_ended(exit); });
}

void Shim::on_start_ended(const Exit& exit) {
  if (exit.code != 0) return fail(runtime_failure(file(kRuntimeLog)));
  status_.started = true;
  save();
  tell_word(static_cast<std::uint8_t>(ShimWord::started));
  if (exit_) drain();
}

/// It could not be run.
void Shim::fail(const RuntimeFailure& failure) {
  int code = kFailed;
  if (failure.program) code = failure.error == ENOENT ? kNoProgram : kNotRunnable;
  status_.exit = ContainerExit{.code = code,
                               .at_ns = loop_.wall_time_ns(),
                               .error = failure.text,
                               .error_number = failure.error};
  if (status_.pid > 0 && !exit_) {
    ::kill(status_.pid, SIGKILL);
    return;
  }
  finish();
}

void Shim::on_container_exit(const Exit& exit) {
  exit_ = exit;
  // Whether it was started has to be known first.
  if (starting_ && !status_.started && !status_.exit) return;
  drain();
}

/// All processes of the container are gone with its first: what is in the streams is all there is.
void Shim::drain() {
  for (auto output = outputs_.begin(); output != outputs_.end();) {
    while (read_output(*output)) {
    }
    output = output->fd ? std::next(output) : outputs_.erase(output);
  }
  if (outputs_.empty() || terminal_) {
    finish();
  } else {
    for (Output& output : outputs_) watch_output(output);
    if (!drain_timer_->active()) drain_timer_->start(kDrainLimit);
  }
}

void Shim::finish() {
  if (removing_) return;
  removing_ = true;
  drain_timer_->stop();
  outputs_.clear();
  if (!status_.exit) {
    status_.exit = ContainerExit{.code = exit_ ? exit_->code : kFailed,
                                 .signal = exit_ ? exit_->signal : 0,
                                 .at_ns = exit_ ? exit_->at_ns : loop_.wall_time_ns()};
  }
  status_.exit->oom = had_oom(arguments_.cgroup);
  [[maybe_unused]] Status killed = write_file(arguments_.cgroup + "/cgroup.kill", "1");
  auto over = [this](const Exit&) {
    status_.pid = 0;
    save();
    tell_word(static_cast<std::uint8_t>(ShimWord::exited));
    end_();
  };
  // With its pid namespace all of its processes are gone. What the runtime would remove then is an
  // empty cgroup and its own directory; anything else is left to it.
  if (exit_ && ::rmdir(arguments_.cgroup.c_str()) == 0) {
    remove_tree(runtime_.directory(arguments_.id));
    return over({});
  }
  Spawned spawned = spawn(runtime_.remove(arguments_.id, arguments_.state));
  if (spawned.pid < 0) return over({});
  children_.add(spawned.pid, over);
}

void Shim::accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd || connections_.size() >= kMaxShimConnections) return;
  Connection& connection = connections_.emplace_back();
  connection.fd = std::move(fd);
  connection.watch = loop_.watch(connection.fd.get(), {.readable = true},
                                 [this, &connection](FdReady) { read(connection); });
  if (status_.pid > 0) {
    std::array<std::uint8_t, 5> message{static_cast<std::uint8_t>(ShimWord::created)};
    store_be32(&message[1], static_cast<std::uint32_t>(status_.pid));
    ::send(connection.fd.get(), message.data(), message.size(), MSG_NOSIGNAL);
  }
  if (status_.started) {
    auto word = static_cast<std::uint8_t>(ShimWord::started);
    ::send(connection.fd.get(), &word, 1, MSG_NOSIGNAL);
  }
}

void Shim::read(Connection& connection) {
  static std::array<std::uint8_t, kMaxShimMessage> message;
  ssize_t got = ::recv(connection.fd.get(), message.data(), message.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0 || !obey(connection, {message.data(), static_cast<std::size_t>(got)})) {
    drop(connection);
  }
}

void Shim::drop(Connection& connection) {
  connections_.remove_if([&](const Connection& one) { return &one == &connection; });
  update_hold();
}

/// False where it is nothing that is said here.
bool Shim::obey(Connection& connection, ConstBytes message) {
  ConstBytes rest = message.subspan(1);
  switch (static_cast<ShimWord>(message[0])) {
    case ShimWord::start:
      start();
      return true;
    case ShimWord::input:
      connection.blocked = true;
      take_input(rest);
      return true;
    case ShimWord::input_closed:
      close_input();
      return true;
    case ShimWord::resize:
      if (rest.size() != 4) return false;
      if (terminal_) {
        resize_terminal(terminal_.get(),
                        {.rows = load_be16(&rest[0]), .columns = load_be16(&rest[2])});
      }
      return true;
    case ShimWord::hold:
      if (rest.size() != 8) return false;
      connection.hold = load_be64(rest.data());
      update_hold();
      return true;
    case ShimWord::signal:
      if (rest.size() != 1) return false;
      // A child of ours that has not been reaped: its number is nobody else's.
      if (status_.pid > 0 && !exit_) ::kill(status_.pid, rest[0]);
      return true;
    default:
      return false;
  }
}

void Shim::tell(ConstBytes message) {
  for (Connection& connection : connections_) {
    ::send(connection.fd.get(), message.data(), message.size(), MSG_NOSIGNAL);
  }
}

void Shim::tell_word(std::uint8_t word) {
  tell({&word, 1});
}

void Shim::take_input(ConstBytes bytes) {
  if (input_ && !input_closing_) pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  pump_input();
}

void Shim::close_input() {
  if (!input_ || input_closing_) return;
  if (terminal_) {
    pending_.push_back(static_cast<std::uint8_t>(end_of_file_key(input_.get())));
  } else {
    input_closing_ = true;
  }
  pump_input();
}

void Shim::pump_input() {
  while (input_ && !pending_.empty()) {
    ssize_t written = ::write(input_.get(), pending_.data(), pending_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) break;
    if (written < 0) {
      // Nobody reads it any more.
      input_watch_.reset();
      input_.reset();
      pending_.clear();
      break;
    }
    pending_.erase(pending_.begin(), pending_.begin() + written);
  }
  if (input_closing_ && pending_.empty()) {
    input_watch_.reset();
    input_.reset();
  }
  bool waits = !pending_.empty();
  if (waits && !input_watch_) {
    input_watch_ = loop_.watch(input_.get(), {.writable = true}, [this](FdReady) { pump_input(); });
  } else if (input_watch_) {
    input_watch_->set_interest({.writable = waits});
  }
  // Who sends input is not read from until there is room for more.
  for (Connection& connection : connections_) {
    if (connection.blocked) connection.watch->set_interest({.readable = !waits});
    connection.blocked = connection.blocked && waits;
  }
}

void Shim::watch_output(Output& output) {
  if (output.watch) return;
  output.watch = loop_.watch(output.fd.get(), {.readable = !is_held()}, [this, &output](FdReady) {
    if (!read_output(output) && !output.fd) {
      outputs_.remove_if([&](const Output& one) { return &one == &output; });
      if (exit_ && outputs_.empty()) finish();
    }
  });
}

/// One piece into the log; whether there may be more at once.
bool Shim::read_output(Output& output) {
  static std::array<std::uint8_t, kMaxLogData> bytes;
  if (!output.fd) return false;
  ssize_t got = ::read(output.fd.get(), bytes.data(), std::min(bytes.size(), piece_));
  if (got > 0) {
    log_->append(output.is_stderr, loop_.wall_time_ns(),
                 {bytes.data(), static_cast<std::size_t>(got)});
    update_hold();
    return true;
  }
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && errno == EAGAIN) return false;
  output.watch.reset();
  if (got < 0 && terminal_ && !exit_) {
    // EIO: nobody has it open at present.
    terminal_timer_->start(kTerminalRetry);
  } else {
    output.fd.reset();
  }
  return false;
}

bool Shim::is_held() const {
  // What its processes have written before they ended is a pipe's content at most.
  if (exit_) return false;
  return std::any_of(connections_.begin(), connections_.end(), [this](const Connection& one) {
    return one.hold && log_->position() > *one.hold + window_;
  });
}

void Shim::update_hold() {
  bool held = is_held();
  if (held == held_) return;
  held_ = held;
  for (Output& output : outputs_) {
    if (output.watch) output.watch->set_interest({.readable = !held});
  }
}

int run_shim(const std::vector<std::string>& args) {
  auto arguments = ShimArguments::parse(args);
  if (!arguments) return 2;
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::prctl(PR_SET_NAME, "shim");
  // It ends when the container has; at a shutdown too.
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  UniqueFd listener(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  UniqueFd copy(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int stream : {STDIN_FILENO, STDOUT_FILENO}) ::dup2(null.get(), stream);
  auto loop = UvLoop::create();
  if (!loop) return 1;
  auto children = Children::create(**loop);
  if (!children) return 1;
  Shim shim(**loop, **children, std::move(*arguments), std::move(listener), std::move(copy));
  shim.begin([raw = loop->get()] { raw->stop(); });
  (*loop)->run();
  return 0;
}

}  // namespace sluice::agent
