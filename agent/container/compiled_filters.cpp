#include "agent/container/compiled_filters.h"

#include <linux/bpf_common.h>
#include <linux/filter.h>

#include <cstdint>

namespace sluice::agent {

namespace {

constexpr std::size_t kMostFilters = 16;

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::string_view piece = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < piece.size() ? static_cast<std::uint8_t>(piece[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= piece.size() ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

}  // namespace

std::string CompiledFilters::find(const Capabilities& capabilities) const {
  for (const Filter& filter : filters_) {
    if (filter.capabilities == capabilities) return filter.program;
  }
  return "";
}

void CompiledFilters::keep(const Capabilities& capabilities, std::string_view program) {
  constexpr std::size_t kInstruction = sizeof(sock_filter);
  if (program.empty() || program.size() % kInstruction != 0 ||
      program.size() > BPF_MAXINSNS * kInstruction || filters_.size() >= kMostFilters) {
    return;
  }
  filters_.push_back({capabilities, base64(program)});
}

}  // namespace sluice::agent
