#include "agent/worker/job.h"

#include <algorithm>
#include <cstring>

namespace sluice::agent {

namespace {

void put_u32(std::string& text, std::uint32_t value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::uint32_t take_u32(ConstBytes& bytes) {
  std::uint32_t value = 0;
  if (bytes.size() < sizeof value) return 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}

std::string take_text(ConstBytes& bytes, std::size_t size) {
  size = std::min(size, bytes.size());
  std::string text(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  bytes = bytes.subspan(size);
  return text;
}

}  // namespace

std::string encode_error(const rpc::CallError& error) {
  std::string text;
  put_u32(text, static_cast<std::uint32_t>(error.code));
  put_u32(text, static_cast<std::uint32_t>(error.error));
  put_u32(text, static_cast<std::uint32_t>(error.step.size()));
  return text + error.step + error.message;
}

rpc::CallError decode_error(ConstBytes bytes) {
  rpc::CallError error;
  error.code = static_cast<rpc::Code>(take_u32(bytes));
  error.error = static_cast<int>(take_u32(bytes));
  error.step = take_text(bytes, take_u32(bytes));
  error.message = take_text(bytes, bytes.size());
  return error;
}

void JobIo::fail(const rpc::CallError& error) {
  rpc::CallError said = error;
  // Both may have names of files in them.
  said.message = rpc::valid_utf8(said.message);
  said.step = rpc::valid_utf8(said.step);
  std::string text = encode_error(said);
  // Where the agent doesn't listen any more nobody does.
  (void)bytes_
      .put(JobFrame::failed, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()})
      .is_ok();
}

Status JobIo::BytesOut::write(ConstBytes from) {
  while (!from.empty()) {
    ConstBytes piece = from.first(std::min(from.size(), kPieceBytes));
    if (Status status = put(JobFrame::bytes, piece); !status) return status;
    from = from.subspan(piece.size());
  }
  return Status::ok();
}

Status JobIo::BytesOut::put(JobFrame kind, ConstBytes content) {
  auto header = static_cast<std::uint32_t>(content.size()) | static_cast<std::uint32_t>(kind)
                                                                 << kJobKindShift;
  std::vector<std::uint8_t> frame(kJobHeaderBytes + content.size());
  std::memcpy(frame.data(), &header, sizeof header);
  std::copy(content.begin(), content.end(), frame.begin() + kJobHeaderBytes);
  return sink_.write(frame);
}

}  // namespace sluice::agent
