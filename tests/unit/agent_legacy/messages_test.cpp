#include "agent/legacy/messages.h"

#include <catch2/catch.hpp>
#include <string>

#include "agent/legacy/frame.h"
#include "agent/legacy/stream_answers.h"
#include "agent/legacy/types.h"
#include "agent/rpc/message.h"
#include "sluice/agent/v1/container.pb.h"
#include "sluice/agent/v1/process.pb.h"
#include "sluice/legacy/v1/legacy.pb.h"

namespace sluice::agent::legacy {

namespace {

using rpc::Message;
using rpc::text;

/// A frame's payload as a message.
template <typename T>
Message<T> answer(const std::vector<std::uint8_t>& frames, Type type) {
  REQUIRE(frames.size() >= kHeaderBytes);
  CHECK(load_be32(&frames[4]) == static_cast<std::uint32_t>(type));
  CHECK(load_be32(frames.data()) == frames.size() - kTypeBytes);
  auto message = Message<T>::parse(ConstBytes(frames).subspan(kHeaderBytes));
  REQUIRE(message.is_ok());
  return std::move(*message);
}

Result<Translation> translated(Type type, const std::vector<std::uint8_t>& payload) {
  return translate(static_cast<std::uint32_t>(type), payload);
}

char* chars(const char* text) {
  return const_cast<char*>(text);
}

std::vector<std::uint8_t> output(const std::string& data, bool is_stderr) {
  rpc::BytesField bytes({reinterpret_cast<const std::uint8_t*>(data.data()), data.size()});
  sluice_agent_v1_ExecResponse message{};
  message.which_message =
      is_stderr ? sluice_agent_v1_ExecResponse_stderr_tag : sluice_agent_v1_ExecResponse_stdout_tag;
  if (is_stderr) {
    message.message.stderr = bytes.array();
  } else {
    message.message.stdout = bytes.array();
  }
  return rpc::encode(message);
}

std::vector<std::uint8_t> ended(std::int32_t code) {
  sluice_agent_v1_ExecResponse message{};
  message.which_message = sluice_agent_v1_ExecResponse_exit_tag;
  message.message.exit.code = code;
  return rpc::encode(message);
}

}  // namespace

TEST_CASE("a container is asked for with all that the older client says") {
  char* words[] = {chars("sleep"), chars("1")};
  char* entry[] = {chars("/init")};
  sluice_legacy_v1_CreateContainerRequest_EnvEntry env{.key = chars("A"), .value = chars("b")};
  sluice_legacy_v1_Mount mounts[] = {
      {.source = chars("/data"), .target = chars("/d"), .type = chars("bind"), .readonly = true},
      {.source = chars("tmpfs"), .target = chars("/t"), .type = chars("tmpfs")}};
  sluice_legacy_v1_CreateContainerRequest request{};
  request.name = chars("web");
  request.image = chars("app:1");
  request.cmd_count = 2;
  request.cmd = words;
  request.entrypoint_count = 1;
  request.entrypoint = entry;
  request.env_count = 1;
  request.env = &env;
  request.working_dir = chars("/srv");
  request.user = chars("worker");
  request.mounts_count = 2;
  request.mounts = mounts;
  request.tty = true;
  auto translation = translated(Type::create, rpc::encode(request));
  REQUIRE(translation.is_ok());
  CHECK(translation->service == "sluice.agent.v1.Container");
  CHECK(translation->method == "Create");
  auto own = Message<sluice_agent_v1_CreateContainerRequest>::parse(translation->message);
  REQUIRE(own.is_ok());
  CHECK(text((*own)->name) == "web");
  CHECK(text((*own)->image) == "app:1");
  CHECK(text((*own)->rootfs).empty());
  REQUIRE((*own)->args_count == 2);
  CHECK(text((*own)->args[0]) == "sleep");
  CHECK(text((*own)->entrypoint[0]) == "/init");
  CHECK(text((*own)->env[0].value) == "b");
  CHECK(text((*own)->cwd) == "/srv");
  CHECK(text((*own)->user) == "worker");
  CHECK((*own)->has_terminal);
  REQUIRE((*own)->mounts_count == 2);
  CHECK((*own)->mounts[0].read_only);
  CHECK((*own)->mounts[1].kind == sluice_agent_v1_ContainerMount_Kind_TMPFS);
}

TEST_CASE("an image that is a path is a root file system") {
  sluice_legacy_v1_CreateContainerRequest request{};
  request.image = chars("/srv/root");
  auto translation = translated(Type::create, rpc::encode(request));
  auto own = Message<sluice_agent_v1_CreateContainerRequest>::parse(translation->message);
  CHECK(text((*own)->rootfs) == "/srv/root");
  CHECK(text((*own)->image).empty());
}

TEST_CASE("a time of 0 to stop in is none, not the usual one") {
  sluice_legacy_v1_StopContainerRequest request{};
  request.id = chars("c");
  for (std::uint32_t seconds : {0U, 7U, UINT32_MAX}) {
    request.timeout = seconds;
    auto translation = translated(Type::stop, rpc::encode(request));
    auto own = Message<sluice_agent_v1_StopContainerRequest>::parse(translation->message);
    CHECK((*own)->timeout_ns == (seconds == 0 ? -1 : std::int64_t{seconds} * 1'000'000'000));
  }
}

TEST_CASE("a program without a container runs in the VM") {
  char* words[] = {chars("true")};
  sluice_legacy_v1_ExecRequest request{};
  request.cmd_count = 1;
  request.cmd = words;
  CHECK(translated(Type::exec, rpc::encode(request))->service == "sluice.agent.v1.Process");
  request.container_id = chars("c");
  CHECK(translated(Type::exec, rpc::encode(request))->service == "sluice.agent.v1.Container");
}

TEST_CASE("a log of neither stream is one of both, and times are seconds") {
  sluice_legacy_v1_LogsRequest request{};
  request.since = 10;
  request.until = INT64_MAX;
  request.tail = -1;
  auto translation = translated(Type::logs, rpc::encode(request));
  auto own = Message<sluice_agent_v1_LogsRequest>::parse(translation->message);
  const auto& start = (*own)->message.start;
  CHECK_FALSE(start.no_stdout);
  CHECK_FALSE(start.no_stderr);
  CHECK(start.since_ns == 10'000'000'000);
  CHECK(start.until_ns > 9'000'000'000'000'000'000);
  CHECK(start.tail == 0);
  request.stderr = true;
  translation = translated(Type::logs, rpc::encode(request));
  auto one = Message<sluice_agent_v1_LogsRequest>::parse(translation->message);
  CHECK((*one)->message.start.no_stdout);
}

TEST_CASE("types that are unknown or meant several things are refused by their number") {
  for (std::uint32_t type :
       {0x0000U, 0x0003U, 0x0016U, 0x0022U, 0x0024U, 0x1001U, 0xFFFFU, 0xFFFFFFFFU}) {
    auto translation = translate(type, {});
    REQUIRE_FALSE(translation.is_ok());
    CHECK(translation.status().code() == StatusCode::unsupported);
  }
}

TEST_CASE("what is no message of its type is refused") {
  const std::vector<std::uint8_t> junk{0x0a, 0xff, 0xff};
  for (Type type : {Type::ping, Type::create, Type::start, Type::stop, Type::remove, Type::list,
                    Type::kill, Type::pause, Type::exec, Type::logs}) {
    auto translation = translated(type, junk);
    REQUIRE_FALSE(translation.is_ok());
    CHECK(translation.status().code() == StatusCode::invalid_argument);
  }
}

TEST_CASE("a program's short output comes with its end, in one frame") {
  ExecAnswers answers;
  std::vector<std::uint8_t> out;
  CHECK(answers.on_message(output("hel", false), out) == 3);
  CHECK(answers.on_message(output("lo", false), out) == 2);
  CHECK(answers.on_message(ended(42), out) == 0);
  CHECK(out.empty());
  answers.on_finish(out);
  auto frame = answer<sluice_legacy_v1_ExecOutput>(out, Type::exec_output);
  ConstBytes data = rpc::bytes_of(frame->data);
  CHECK(std::string(data.begin(), data.end()) == "hello");
  CHECK(text(frame->stream) == "stdout");
  CHECK(frame->exit_code == 42);
  CHECK(frame->done);
}

TEST_CASE("both streams of a program keep their order") {
  ExecAnswers answers;
  std::vector<std::uint8_t> first;
  answers.on_message(output("out", false), first);
  CHECK(first.empty());
  answers.on_message(output("err", true), first);
  auto frame = answer<sluice_legacy_v1_ExecOutput>(first, Type::exec_output);
  CHECK(text(frame->stream) == "stdout");
  CHECK_FALSE(frame->done);
  std::vector<std::uint8_t> last;
  answers.on_finish(last);
  auto end = answer<sluice_legacy_v1_ExecOutput>(last, Type::exec_output);
  CHECK(text(end->stream) == "stderr");
  CHECK(end->done);
}

TEST_CASE("more than 64 KiB of output is not held until the end") {
  ExecAnswers answers;
  std::vector<std::uint8_t> out;
  for (int i = 0; i < 5; ++i) answers.on_message(output(std::string(20'000, 'x'), false), out);
  CHECK(out.size() >= 60'000);
}

TEST_CASE("a log's lines begin with their time where that is asked for") {
  const std::string data = "one\ntwo\n";
  rpc::BytesField bytes({reinterpret_cast<const std::uint8_t*>(data.data()), data.size()});
  sluice_agent_v1_LogsResponse message{};
  message.which_message = sluice_agent_v1_LogsResponse_record_tag;
  message.message.record.time_ns = 1'000'000'000'000'000'007;
  message.message.record.is_stderr = true;
  message.message.record.data = bytes.array();
  auto encoded = rpc::encode(message);

  LogsAnswers plain(LogTimes::off);
  std::vector<std::uint8_t> out;
  CHECK(plain.on_message(encoded, out) == data.size());
  auto entry = answer<sluice_legacy_v1_LogEntry>(out, Type::log_entry);
  CHECK(text(entry->stream) == "stderr");
  CHECK(entry->timestamp == 1'000'000'000'000'000'007);
  ConstBytes said = rpc::bytes_of(entry->data);
  CHECK(std::string(said.begin(), said.end()) == data);

  LogsAnswers timed(LogTimes::on);
  out.clear();
  timed.on_message(encoded, out);
  auto dated = answer<sluice_legacy_v1_LogEntry>(out, Type::log_entry);
  said = rpc::bytes_of(dated->data);
  CHECK(std::string(said.begin(), said.end()) ==
        "2001-09-09T01:46:40.000000007Z one\n2001-09-09T01:46:40.000000007Z two\n");
}

}  // namespace sluice::agent::legacy
