#include "agent/services/job_call.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "agent/rpc/message.h"

namespace sluice::agent {

using rpc::CallError;
using rpc::Code;

namespace {}  // namespace

/// One call and its worker:
///
///   client --bytes--> pending_ --> pipe --> job      grant: as the pipe takes them
///   client <--bytes-- pipe <-- job                   read while there is credit and room
class JobCall final : public rpc::Handler {
 public:
  JobCall(JobRunner& runner, rpc::Call& call, JobWire wire, Worker worker)
      : call_(call), wire_(std::move(wire)), worker_(std::move(worker)) {
    Loop& loop = runner.loop_;
    out_watch_ = loop.watch(worker_.out.get(), {.readable = true}, [this](FdReady) { pump(); });
    if (!wire_.grant) {
      worker_.in.reset();
      return;
    }
    in_watch_ = loop.watch(worker_.in.get(), {}, [this](FdReady) { write_pending(); });
  }
  JobCall(const JobCall&) = delete;
  JobCall& operator=(const JobCall&) = delete;
  ~JobCall() override {
    *gone_ = true;
    // Before its pipes are closed, so that it takes no end for the client's word.
    if (!over_ && !*exited_) ::kill(worker_.pid, SIGTERM);
  }

  void on_message(ConstBytes bytes) override {
    if (!wire_.read || over_) return;
    Status status = wire_.read(bytes, [this](const JobInput& input) { take(input); });
    if (!status) end(CallError::of(status));
  }

  void on_half_close() override {
    if (wire_.grant) take({.end = true});
  }

  void on_writable() override { pump(); }

  std::shared_ptr<bool> gone() const { return gone_; }
  std::shared_ptr<bool> exited() const { return exited_; }

  /// The worker has ended; what it said last may still be in the pipe.
  void on_exit(const Exit& exit) {
    exit_ = exit;
    pump();
  }

 private:
  void take(const JobInput& input) {
    if (over_) return;
    credit_ = rpc::with_grant(credit_, input.grant);
    if (input.bytes.size() > rpc::kMaxBytesPerMessage) {
      return end({.code = Code::invalid_argument,
                  .message = fmt::format("{} bytes at once; {} are the most", input.bytes.size(),
                                         rpc::kMaxBytesPerMessage)});
    }
    if (!input.bytes.empty() && ending_) {
      return end({.code = Code::invalid_argument, .message = "there are bytes behind the end"});
    }
    if (input.bytes.size() > input_credit_) {
      return end({.code = Code::resource_exhausted, .message = "more bytes than were granted"});
    }
    input_credit_ -= static_cast<std::uint32_t>(input.bytes.size());
    pending_.insert(pending_.end(), input.bytes.begin(), input.bytes.end());
    ending_ = ending_ || input.end;
    if (wire_.grant) write_pending();
    if (input.grant > 0) pump();
  }

  void write_pending() {
    while (worker_.in && pending_at_ < pending_.size()) {
      ssize_t written =
          ::write(worker_.in.get(), pending_.data() + pending_at_, pending_.size() - pending_at_);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0 && errno == EAGAIN) break;
      // A job that reads no more has said why, or will.
      if (written < 0) written = static_cast<ssize_t>(pending_.size() - pending_at_);
      pending_at_ += static_cast<std::size_t>(written);
      ungranted_ += static_cast<std::uint32_t>(written);
    }
    bool all_written = pending_at_ == pending_.size();
    // Not only when all is written: a job that is slower than its client always has some waiting.
    if (2 * pending_at_ >= pending_.size()) {
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(pending_at_));
      pending_at_ = 0;
    }
    if (all_written && ending_) {
      in_watch_.reset();
      worker_.in.reset();
    } else if (in_watch_) {
      in_watch_->set_interest({.writable = !all_written});
    }
    if (ending_ || ungranted_ < rpc::kGrantStep) return;
    input_credit_ += ungranted_;
    call_.send(wire_.grant(std::exchange(ungranted_, 0)));
  }

  void pump() {
    while (!over_ && step()) {
    }
    if (over_) return;
    bool no_credit = kind_ == JobFrame::bytes && credit_ == 0;
    bool waits_for_client = in_frame_ && (no_credit || !call_.writable());
    out_watch_->set_interest({.readable = !waits_for_client && !silent_});
  }

  /// One read; whether it is worth trying again.
  bool step() {
    if (!in_frame_) return read_header();
    if (!call_.writable()) return false;
    return kind_ == JobFrame::bytes ? pass_bytes() : read_message();
  }

  /// What was read: more than 0; or 0, where there is nothing now, or the worker is dead.
  std::size_t read_some(Bytes into) {
    ssize_t got;
    do {
      got = ::read(worker_.out.get(), into.data(), into.size());
    } while (got < 0 && errno == EINTR);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0) on_death();
    return 0;
  }

  void on_death() {
    // The pipe is told before the exit is.
    if (!exit_) {
      silent_ = true;
      return;
    }
    end({.code = Code::internal,
         .message = exit_->signal != 0
                        ? fmt::format("the worker was ended by signal {}", exit_->signal)
                        : "the worker ended without a word"});
  }

  bool read_header() {
    std::size_t got = read_some(Bytes(header_).subspan(filled_));
    filled_ += got;
    if (filled_ < kJobHeaderBytes) return got > 0;
    std::uint32_t header;
    std::memcpy(&header, header_.data(), sizeof header);
    kind_ = static_cast<JobFrame>(header >> kJobKindShift);
    left_ = header & ((1U << kJobKindShift) - 1);
    filled_ = 0;
    if (left_ > kMaxJobFrameBytes) {
      end({.code = Code::internal, .message = "the worker said too much"});
      return false;
    }
    in_frame_ = true;
    message_.clear();
    if (left_ == 0) finish_frame();
    return true;
  }

  bool pass_bytes() {
    if (credit_ == 0) return false;
    std::size_t most = std::min<std::uint64_t>({left_, credit_, rpc::kMaxBytesPerMessage});
    if (!piece_) piece_.emplace(wire_.bytes_field, rpc::kMaxBytesPerMessage);
    std::size_t got = read_some(piece_->space().first(most));
    if (got == 0) return false;
    credit_ -= got;
    left_ -= got;
    call_.send(piece_->of(got));
    if (left_ == 0) in_frame_ = false;
    return true;
  }

  bool read_message() {
    std::size_t before = message_.size();
    message_.resize(before + left_);
    std::size_t got = read_some(Bytes(message_).subspan(before));
    message_.resize(before + got);
    if (got == 0) return false;
    left_ -= got;
    if (left_ == 0) finish_frame();
    return true;
  }

  void finish_frame() {
    in_frame_ = false;
    switch (kind_) {
      case JobFrame::message:
        call_.send(message_);
        break;
      case JobFrame::done:
        over_ = true;
        release();
        if (!wire_.read) return call_.reply(message_);
        call_.send(message_);
        call_.finish();
        break;
      case JobFrame::failed:
        over_ = true;
        release();
        call_.fail(decode_error(message_));
        break;
      case JobFrame::bytes:
        break;
    }
  }

  void end(const CallError& error) {
    if (over_) return;
    if (!*exited_) ::kill(worker_.pid, SIGTERM);
    over_ = true;
    release();
    call_.fail(error);
  }

  void release() {
    in_watch_.reset();
    out_watch_.reset();
    worker_.in.reset();
    worker_.out.reset();
  }

  rpc::Call& call_;
  JobWire wire_;
  Worker worker_;
  std::unique_ptr<FdWatch> in_watch_;
  std::unique_ptr<FdWatch> out_watch_;
  std::shared_ptr<bool> gone_ = std::make_shared<bool>(false);
  std::shared_ptr<bool> exited_ = std::make_shared<bool>(false);
  std::optional<Exit> exit_;
  bool silent_ = false;  ///< Its pipe has ended.
  bool over_ = false;

  std::vector<std::uint8_t> pending_;
  std::size_t pending_at_ = 0;
  bool ending_ = false;
  std::uint32_t input_credit_ = rpc::kInitialCredit;
  std::uint32_t ungranted_ = 0;

  std::array<std::uint8_t, kJobHeaderBytes> header_{};
  std::size_t filled_ = 0;
  bool in_frame_ = false;
  JobFrame kind_ = JobFrame::message;
  std::size_t left_ = 0;
  std::vector<std::uint8_t> message_;
  std::optional<rpc::BytesMessage> piece_;
  std::uint64_t credit_ = rpc::kInitialCredit;
};

std::unique_ptr<rpc::Handler> JobRunner::begin(rpc::Call& call, const Job& job, JobWire wire,
                                               AfterExit after) {
  if (running_ >= kMaxJobs) {
    call.fail({.code = Code::resource_exhausted,
               .message = fmt::format("{} jobs are under way, the most at once", running_)});
    return nullptr;
  }
  auto worker = start_worker(job);
  if (!worker) {
    call.fail(CallError::of(worker.status()));
    return nullptr;
  }
  ++running_;
  pid_t pid = worker->pid;
  auto handler = std::make_unique<JobCall>(*this, call, std::move(wire), std::move(*worker));
  children_.add(pid, [this, after = std::move(after), raw = handler.get(), gone = handler->gone(),
                      exited = handler->exited()](const Exit& exit) {
    --running_;
    *exited = true;
    if (!*gone) raw->on_exit(exit);
    if (after) after(exit);
  });
  return handler;
}

void JobRunner::run_aside(const Job& job) {
  auto worker = start_worker(job);
  // With its pipes closed at once it has nobody to wait for.
  if (worker) children_.add(worker->pid, {});
}

}  // namespace sluice::agent
