// A client of the guest's agent in C++, on agent/client, which hostctl is made of too. It takes a
// container through its life (image, create, start, logs, exec, stop, remove) and tells what it
// sees.
//
//   client-cpp ENDPOINT [--archive FILE | --image NAME | --rootfs DIRECTORY] [--token-file FILE]
//                       [--all-devices]
//
// ENDPOINT is as hostd's --agent: unix:PATH of hostd's NAME.agent.sock, or an agent's own.
// Exit: 0, 1 (a call failed), 2 (usage).

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/client/containers.h"
#include "agent/client/endpoint.h"
#include "agent/client/guest.h"
#include "agent/client/images.h"
#include "base/uv_loop.h"

namespace {

using sluice::ConstBytes;
using sluice::UvLoop;
using namespace sluice::agent;          // NOLINT: an example's names are better short
using namespace sluice::agent::client;  // NOLINT

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr const char* kName = "client-cpp";

struct Asked {
  AgentEndpoint endpoint;
  std::string archive;
  ContainerSpec container;
};

/// Calls are answered on the loop; this waits for each, as a program that does one thing may.
class Conversation {
 public:
  Conversation(UvLoop& loop, Caller& caller) : loop_(loop), caller_(caller) {}

  /// Begins a call by `begin(on_answer)` and returns its answer; nothing where it failed, which is
  /// in failure() then.
  template <typename T, typename Begin>
  std::optional<T> ask(const char* what, Begin begin) {
    std::optional<T> answer;
    OnAnswer<T> on_answer = [&](const rpc::CallError& error, const T& got) {
      if (error.code == rpc::Code::ok) {
        answer = got;
      } else {
        failure_ = std::string(what) + ": " + error.message;
      }
      loop_.stop();
    };
    begin(std::move(on_answer));
    loop_.run();
    return answer;
  }

  bool import(const std::string& path, std::string& image);
  bool read_logs(const std::string& container, std::string& text);
  bool exec(const ExecSpec& spec, const std::string& input, std::string& output, int& code);

  Caller& caller() { return caller_; }
  const std::string& failure() const { return failure_; }

 private:
  bool ended_with(const char* what, const rpc::CallError& error) {
    bool ok = error.code == rpc::Code::ok;
    if (!ok) failure_ = std::string(what) + ": " + error.message;
    loop_.stop();
    return ok;
  }

  UvLoop& loop_;
  Caller& caller_;
  std::string failure_;
};

/// Sends a file as the agent has room for it.
bool Conversation::import(const std::string& path, std::string& image) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    failure_ = path + ": can't be read";
    return false;
  }
  bool finished = false;
  std::unique_ptr<Upload> upload;
  auto send = [&] {
    std::array<char, 65536> buffer;
    while (upload && !finished && upload->room() > 0) {
      file.read(buffer.data(),
                static_cast<std::streamsize>(std::min(buffer.size(), upload->room())));
      auto size = static_cast<std::size_t>(file.gcount());
      if (size > 0) upload->write({reinterpret_cast<std::uint8_t*>(buffer.data()), size});
      if (file) continue;
      finished = true;
      upload->finish();
    }
  };
  auto images = ask<std::vector<ImageInfo>>("import", [&](auto on_answer) {
    upload = import_image(caller_, {.name = kName}, send, std::move(on_answer));
    send();
  });
  if (!images || images->empty()) return false;
  image = images->front().id;
  return true;
}

bool Conversation::read_logs(const std::string& container, std::string& text) {
  bool ok = false;
  ContainerLogs logs(
      caller_, {.container = container},
      {.on_record = [&](bool, std::int64_t,
                        ConstBytes data) { text.append(data.begin(), data.end()); },
       .on_end = [&](const rpc::CallError& error) { ok = ended_with("logs", error); }});
  loop_.run();
  return ok;
}

/// A program with an input that is sent as it is granted, and all of its output.
bool Conversation::exec(const ExecSpec& spec, const std::string& input, std::string& output,
                        int& code) {
  std::size_t sent = 0;
  bool closed = false;
  bool ok = false;
  std::unique_ptr<Exec> program;
  auto send = [&] {
    std::size_t size = std::min(program->input_room(), input.size() - sent);
    if (size > 0) program->write({reinterpret_cast<const std::uint8_t*>(&input[sent]), size});
    sent += size;
    if (sent < input.size() || closed) return;
    closed = true;
    program->close_input();
  };
  program = std::make_unique<Exec>(
      caller_, spec,
      Exec::Events{.on_started = [&](const std::string&, std::int32_t) { send(); },
                   .on_output =
                       [&](bool, ConstBytes bytes) {
                         output.append(bytes.begin(), bytes.end());
                         program->consumed(bytes.size());
                       },
                   .on_input_room = send,
                   .on_end =
                       [&](const rpc::CallError& error, const ExitStatus& exit) {
                         code = exit.code;
                         ok = ended_with("exec", error);
                       }});
  loop_.run();
  return ok;
}

bool fits(const std::string& text, const std::string& wanted) {
  return text.find(wanted) != std::string::npos;
}

/// From the image to the removal; false where a call failed.
bool live(Conversation& guest, ContainerSpec spec) {
  spec.name = kName;
  spec.network = "none";
  spec.args = {"sh", "-c",
               "trap 'echo stopping; exit 42' TERM; echo started; while :; do sleep 0.05; done"};
  Caller& caller = guest.caller();
  auto id = guest.ask<std::string>(
      "create", [&](auto done) { create_container(caller, spec, std::move(done)); });
  if (!id) return false;
  std::printf("created %s\n", kName);
  if (!guest.ask<Done>("start",
                       [&](auto done) { start_container(caller, *id, std::move(done)); })) {
    return false;
  }
  std::string log;
  while (!fits(log, "started\n")) {
    log.clear();
    if (!guest.read_logs(*id, log)) return false;
  }
  std::printf("started\n");

  std::string output;
  int code = 0;
  ExecSpec count{.args = {"wc", "-c"}, .container = *id};
  if (!guest.exec(count, std::string(1'000'000, 'x'), output, code)) return false;
  std::printf("exec: wc counted %s", output.c_str());
  auto exit = guest.ask<ContainerExit>("stop", [&](auto done) {
    stop_container(caller, *id, "", std::chrono::seconds(60), std::move(done));
  });
  if (!exit) return false;
  std::printf("stopped with %d\n", exit->code);
  log.clear();
  if (!guest.read_logs(*id, log)) return false;
  std::printf("log: %s", log.c_str());
  if (!guest.ask<Done>("remove",
                       [&](auto done) { remove_container(caller, *id, false, std::move(done)); })) {
    return false;
  }
  std::printf("removed\n");
  return true;
}

/// What a failure left behind.
void clear(Conversation& guest) {
  guest.ask<Done>(
      "clear", [&](auto done) { remove_container(guest.caller(), kName, true, std::move(done)); });
}

bool talk(Conversation& guest, Asked asked) {
  auto pong = guest.ask<Ping>("ping", [&](auto done) { ping(guest.caller(), std::move(done)); });
  if (!pong) return false;
  std::printf("agent %s\n", pong->version.c_str());
  if (!asked.archive.empty()) {
    if (!guest.import(asked.archive, asked.container.image)) return false;
    std::printf("imported %s\n", asked.archive.c_str());
  }
  if (asked.container.image.empty() && asked.container.rootfs.empty()) return true;
  return live(guest, std::move(asked.container));
}

/// Nothing where the arguments make no sense.
std::optional<Asked> parse(const std::vector<std::string>& arguments) {
  Asked asked;
  if (arguments.empty()) return std::nullopt;
  auto endpoint = AgentEndpoint::parse(arguments[0]);
  if (!endpoint) return std::nullopt;
  asked.endpoint = *endpoint;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (arguments[i] == "--all-devices") {
      asked.container.all_devices = true;
      continue;
    }
    if (i + 1 == arguments.size()) return std::nullopt;
    const std::string& value = arguments[i + 1];
    if (arguments[i] == "--archive") {
      asked.archive = value;
    } else if (arguments[i] == "--image") {
      asked.container.image = value;
    } else if (arguments[i] == "--rootfs") {
      asked.container.rootfs = value;
    } else if (arguments[i] == "--token-file") {
      auto token = rpc::BootToken::read(value);
      if (!token) return std::nullopt;
      asked.endpoint.token = *token;
    } else {
      return std::nullopt;
    }
    ++i;
  }
  return asked;
}

int fail(const std::string& what) {
  std::fprintf(stderr, "client-cpp: %s\n", what.c_str());
  return kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  auto asked = parse({argv + 1, argv + argc});
  if (!asked) {
    std::fprintf(stderr,
                 "usage: client-cpp ENDPOINT [--archive FILE | --image NAME | --rootfs DIRECTORY]\n"
                 "                  [--token-file FILE] [--all-devices]\n");
    return kUsage;
  }
  auto loop = UvLoop::create();
  if (!loop) return fail(loop.status().message());
  auto link = dial(**loop, asked->endpoint);
  if (!link) return fail(link.status().message());
  // A connection that goes ends the call that waits, which then says so.
  Caller caller(**loop, std::move(*link), [] {});
  Conversation guest(**loop, caller);
  if (talk(guest, std::move(*asked))) return 0;
  std::string why = guest.failure();
  clear(guest);
  return fail(why);
}
