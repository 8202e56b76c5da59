#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/legacy/messages.h"

namespace sluice::agent::legacy {

/// Output of a program as ExecOutput frames. What is of one stream and below kMostData goes with
/// the last frame, as older clients read one only.
class ExecAnswers final : public Answers {
 public:
  static constexpr std::size_t kMostData = std::size_t{64} << 10;

  std::size_t on_message(ConstBytes message, std::vector<std::uint8_t>& out) override;
  void on_finish(std::vector<std::uint8_t>& out) override;
  std::vector<std::uint8_t> grant(std::size_t bytes) const override;

 private:
  enum class Stream : std::uint8_t { out, err };
  void add(ConstBytes data, Stream stream, std::vector<std::uint8_t>& out);
  void send(std::vector<std::uint8_t>& out, const std::int32_t* exit_code);

  std::vector<std::uint8_t> held_;
  Stream stream_ = Stream::out;  ///< Of what is held.
  std::int32_t exit_code_ = 0;
};

/// Whether each line of a log begins with its time.
enum class LogTimes : std::uint8_t { off, on };

/// Records of a log as LogEntry frames, and an Empty one at its end.
class LogsAnswers final : public Answers {
 public:
  explicit LogsAnswers(LogTimes times) : times_(times) {}

  std::size_t on_message(ConstBytes message, std::vector<std::uint8_t>& out) override;
  void on_finish(std::vector<std::uint8_t>& out) override;
  std::vector<std::uint8_t> grant(std::size_t bytes) const override;

 private:
  std::vector<std::uint8_t> with_times(ConstBytes data, std::int64_t time_ns, bool& at_line_start);

  LogTimes times_;
  bool out_at_start_ = true;  ///< Of a line.
  bool err_at_start_ = true;
};

}  // namespace sluice::agent::legacy
