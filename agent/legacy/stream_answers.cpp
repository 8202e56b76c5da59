#include "agent/legacy/stream_answers.h"

#include <fmt/format.h>

#include "agent/legacy/frame.h"
#include "agent/legacy/types.h"
#include "agent/os/clock.h"
#include "agent/rpc/message.h"
#include "sluice/agent/v1/container.pb.h"
#include "sluice/agent/v1/process.pb.h"
#include "sluice/legacy/v1/legacy.pb.h"

namespace sluice::agent::legacy {

namespace {

void append(std::vector<std::uint8_t>& out, Type type, ConstBytes payload) {
  append_frame(out, static_cast<std::uint32_t>(type), payload);
}

}  // namespace

std::size_t ExecAnswers::on_message(ConstBytes message, std::vector<std::uint8_t>& out) {
  auto response = rpc::Message<sluice_agent_v1_ExecResponse>::parse(message);
  if (!response) return 0;
  const auto& own = **response;
  switch (own.which_message) {
    case sluice_agent_v1_ExecResponse_stdout_tag: {
      ConstBytes data = rpc::bytes_of(own.message.stdout);
      add(data, Stream::out, out);
      return data.size();
    }
    case sluice_agent_v1_ExecResponse_stderr_tag: {
      ConstBytes data = rpc::bytes_of(own.message.stderr);
      add(data, Stream::err, out);
      return data.size();
    }
    case sluice_agent_v1_ExecResponse_exit_tag:
      exit_code_ = own.message.exit.code;
      return 0;
    default:
      return 0;
  }
}

void ExecAnswers::add(ConstBytes data, Stream stream, std::vector<std::uint8_t>& out) {
  bool fits = stream == stream_ && held_.size() + data.size() <= kMostData;
  if (!held_.empty() && !fits) send(out, nullptr);
  stream_ = stream;
  held_.insert(held_.end(), data.begin(), data.end());
}

void ExecAnswers::on_finish(std::vector<std::uint8_t>& out) {
  send(out, &exit_code_);
}

void ExecAnswers::send(std::vector<std::uint8_t>& out, const std::int32_t* exit_code) {
  rpc::BytesField data(held_);
  sluice_legacy_v1_ExecOutput output{};
  output.stream = const_cast<char*>(stream_ == Stream::out ? "stdout" : "stderr");
  output.data = data.array();
  output.done = exit_code != nullptr;
  output.exit_code = exit_code ? *exit_code : 0;
  append(out, Type::exec_output, rpc::encode(output));
  held_.clear();
}

std::vector<std::uint8_t> ExecAnswers::grant(std::size_t bytes) const {
  sluice_agent_v1_ExecRequest request{};
  request.which_message = sluice_agent_v1_ExecRequest_grant_tag;
  request.message.grant = static_cast<std::uint32_t>(bytes);
  return rpc::encode(request);
}

std::size_t LogsAnswers::on_message(ConstBytes message, std::vector<std::uint8_t>& out) {
  auto response = rpc::Message<sluice_agent_v1_LogsResponse>::parse(message);
  if (!response || (*response)->which_message != sluice_agent_v1_LogsResponse_record_tag) return 0;
  const auto& record = (*response)->message.record;
  ConstBytes data = rpc::bytes_of(record.data);
  std::vector<std::uint8_t> with;
  if (times_ == LogTimes::on) {
    with = with_times(data, record.time_ns, record.is_stderr ? err_at_start_ : out_at_start_);
  }
  rpc::BytesField bytes(times_ == LogTimes::on ? ConstBytes(with) : data);
  sluice_legacy_v1_LogEntry entry{};
  entry.stream = const_cast<char*>(record.is_stderr ? "stderr" : "stdout");
  entry.data = bytes.array();
  entry.timestamp = record.time_ns;
  append(out, Type::log_entry, rpc::encode(entry));
  return data.size();
}

/// A record of 64 KiB of empty lines becomes some 2 MiB: more than it was, but bounded.
std::vector<std::uint8_t> LogsAnswers::with_times(ConstBytes data, std::int64_t time_ns,
                                                  bool& at_line_start) {
  std::string time = utc_text(time_ns) + " ";
  std::vector<std::uint8_t> with;
  for (std::uint8_t byte : data) {
    if (at_line_start) with.insert(with.end(), time.begin(), time.end());
    with.push_back(byte);
    at_line_start = byte == '\n';
  }
  return with;
}

void LogsAnswers::on_finish(std::vector<std::uint8_t>& out) {
  append(out, Type::empty, {});
}

std::vector<std::uint8_t> LogsAnswers::grant(std::size_t bytes) const {
  sluice_agent_v1_LogsRequest request{};
  request.which_message = sluice_agent_v1_LogsRequest_grant_tag;
  request.message.grant = static_cast<std::uint32_t>(bytes);
  return rpc::encode(request);
}

}  // namespace sluice::agent::legacy
