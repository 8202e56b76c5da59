#include "agent/archive/decompress.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <vector>

namespace sluice::agent {

namespace {

/// zlib's way to say: a gzip header, the largest window.
constexpr int kGzipWindow = 16 + MAX_WBITS;
/// The largest window of zstd's own program where nothing is said.
constexpr int kZstdWindowLog = 27;

Status damaged(const char* format, const char* why) {
  return Status(StatusCode::invalid_argument, fmt::format("{}: {}", format, why));
}

/// The first bytes again, and then what follows them.
class ReplaySource : public Source {
 public:
  ReplaySource(Source& below, std::vector<std::uint8_t> first)
      : below_(below), first_(std::move(first)) {}

  Result<std::size_t> read(Bytes into) override {
    if (given_ == first_.size()) return below_.read(into);
    std::size_t size = std::min(into.size(), first_.size() - given_);
    std::copy_n(first_.begin() + static_cast<std::ptrdiff_t>(given_), size, into.begin());
    given_ += size;
    return size;
  }

 private:
  Source& below_;
  std::vector<std::uint8_t> first_;
  std::size_t given_ = 0;
};

/// A buffer of what is still packed.
class PackedInput {
 public:
  explicit PackedInput(ReplaySource below) : below_(std::move(below)), buffer_(kPieceBytes) {}

  /// Reads more where all was used. False: there is none.
  Result<bool> fill() {
    if (used_ < filled_) return true;
    if (ended_) return false;
    auto got = below_.read(buffer_);
    if (!got) return got.status();
    used_ = 0;
    filled_ = *got;
    ended_ = filled_ == 0;
    return !ended_;
  }
  Bytes rest() { return Bytes(buffer_).subspan(used_, filled_ - used_); }
  void use(std::size_t bytes) { used_ += bytes; }

 private:
  ReplaySource below_;
  std::vector<std::uint8_t> buffer_;
  std::size_t used_ = 0;
  std::size_t filled_ = 0;
  bool ended_ = false;
};

class GunzipSource final : public Source {
 public:
  explicit GunzipSource(ReplaySource below) : input_(std::move(below)) {}
  GunzipSource(const GunzipSource&) = delete;
  GunzipSource& operator=(const GunzipSource&) = delete;
  ~GunzipSource() override {
    if (ready_) ::inflateEnd(&state_);
  }

  Result<std::size_t> read(Bytes into) override {
    if (!ready_) {
      if (::inflateInit2(&state_, kGzipWindow) != Z_OK) return damaged("gzip", "no memory");
      ready_ = true;
    }
    for (;;) {
      auto more = input_.fill();
      if (!more) return more.status();
      if (between_ && *more) {
        if (padding_ || input_.rest()[0] == 0) {
          // Tapes and block devices pad with zeros.
          if (Status status = skip_padding(); !status) return status;
          continue;
        }
        ::inflateReset(&state_);
        between_ = false;
      }
      if (!*more) {
        if (between_) return std::size_t{0};
        return damaged("gzip", "the stream is cut off");
      }
      Bytes rest = input_.rest();
      state_.next_in = rest.data();
      state_.avail_in = static_cast<uInt>(rest.size());
      state_.next_out = into.data();
      state_.avail_out = static_cast<uInt>(std::min(into.size(), kPieceBytes));
      std::size_t room = state_.avail_out;
      int result = ::inflate(&state_, Z_NO_FLUSH);
      input_.use(rest.size() - state_.avail_in);
      if (result == Z_STREAM_END) {
        between_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return damaged("gzip", state_.msg ? state_.msg : "the stream is damaged");
      }
      if (std::size_t made = room - state_.avail_out; made > 0) return made;
    }
  }

 private:
  Status skip_padding() {
    padding_ = true;
    for (std::uint8_t byte : input_.rest()) {
      if (byte != 0) return damaged("gzip", "there is something else behind it");
    }
    input_.use(input_.rest().size());
    return Status::ok();
  }

  PackedInput input_;
  z_stream state_{};
  bool ready_ = false;
  bool between_ = false;  ///< Of two members, or at the end.
  bool padding_ = false;
};

class UnzstdSource final : public Source {
 public:
  explicit UnzstdSource(ReplaySource below)
      : input_(std::move(below)), state_(::ZSTD_createDStream(), ::ZSTD_freeDStream) {
    if (state_) ::ZSTD_DCtx_setParameter(state_.get(), ZSTD_d_windowLogMax, kZstdWindowLog);
  }

  Result<std::size_t> read(Bytes into) override {
    if (!state_) return damaged("zstd", "no memory");
    ZSTD_outBuffer out{.dst = into.data(), .size = into.size(), .pos = 0};
    for (;;) {
      // What is left inside comes out before more goes in.
      if (!pending_) {
        auto more = input_.fill();
        if (!more) return more.status();
        if (!*more) {
          if (between_) return std::size_t{0};
          return damaged("zstd", "the stream is cut off");
        }
      }
      Bytes rest = input_.rest();
      ZSTD_inBuffer in{.src = rest.data(), .size = rest.size(), .pos = 0};
      std::size_t result = ::ZSTD_decompressStream(state_.get(), &out, &in);
      input_.use(in.pos);
      if (::ZSTD_isError(result) != 0) return damaged("zstd", ::ZSTD_getErrorName(result));
      between_ = result == 0;
      pending_ = !between_ && out.pos == out.size;
      if (out.pos > 0) return out.pos;
    }
  }

 private:
  PackedInput input_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> state_;
  bool between_ = true;  ///< Of two frames, or at the end.
  bool pending_ = false;
};

bool begins_with(ConstBytes bytes, ConstBytes magic) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

}  // namespace

Result<std::unique_ptr<Source>> decompressed(Source& below) {
  static constexpr std::array<std::uint8_t, 3> kGzip{0x1F, 0x8B, 8};
  static constexpr std::array<std::uint8_t, 4> kZstd{0x28, 0xB5, 0x2F, 0xFD};
  /// Skippable frames (RFC 8878, 3.1.2) have 0x50 to 0x5F here.
  static constexpr std::array<std::uint8_t, 3> kSkippable{0x2A, 0x4D, 0x18};
  std::vector<std::uint8_t> first(kZstd.size());
  std::size_t filled = 0;
  while (filled < first.size()) {
    auto got = below.read(Bytes(first).subspan(filled));
    if (!got) return got.status();
    if (*got == 0) break;
    filled += *got;
  }
  first.resize(filled);
  bool is_gzip = begins_with(first, kGzip);
  bool is_zstd =
      begins_with(first, kZstd) || (filled == kZstd.size() && (first[0] & 0xF0) == 0x50 &&
                                    begins_with(ConstBytes(first).subspan(1), kSkippable));
  ReplaySource whole(below, std::move(first));
  std::unique_ptr<Source> source;
  if (is_gzip) {
    source = std::make_unique<GunzipSource>(std::move(whole));
  } else if (is_zstd) {
    source = std::make_unique<UnzstdSource>(std::move(whole));
  } else {
    source = std::make_unique<ReplaySource>(std::move(whole));
  }
  return source;
}

}  // namespace sluice::agent
