#include "agent/archive/tar_reader.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/number.h"

namespace sluice::agent {

namespace {

using tar::kBlockBytes;

constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 62;
constexpr std::uint32_t kNanosecondDigits = 9;

Status bad_archive(std::string_view why) {
  return Status(StatusCode::invalid_argument, fmt::format("tar: {}", why));
}

std::string text_of(const std::uint8_t* block, tar::Field field) {
  const char* begin = reinterpret_cast<const char*>(block + field.offset);
  return {begin, ::strnlen(begin, field.size)};
}

/// A number in base 256: the first byte's upper bit says so, and the next one is the sign.
Result<std::int64_t> binary_number(const std::uint8_t* bytes, std::size_t size) {
  bool negative = (bytes[0] & 0x40) != 0;
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = 0; i < size; ++i) {
    std::uint8_t byte = bytes[i];
    if (i == 0) byte = negative ? byte | 0x80 : byte & 0x7F;
    // Nothing but the sign may leave at the top.
    if (i > 0 && (value >> 55) != (negative ? 0x1FF : 0))
      return bad_archive("a number is too large");
    value = value << 8 | byte;
  }
  return static_cast<std::int64_t>(value);
}

/// Octal digits, or base 256.
Result<std::int64_t> number_of(const std::uint8_t* block, tar::Field field) {
  const std::uint8_t* bytes = block + field.offset;
  if ((bytes[0] & 0x80) != 0) return binary_number(bytes, field.size);
  std::string_view text(reinterpret_cast<const char*>(bytes), field.size);
  std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::int64_t{0};
  text = text.substr(begin);
  text = text.substr(0, text.find_first_of(std::string_view(" \0", 2)));
  std::int64_t value = 0;  // 12 digits at most: it fits.
  for (char c : text) {
    if (c < '0' || c > '7') return bad_archive("a number of a header is none");
    value = value << 3 | (c - '0');
  }
  return value;
}

Result<std::uint32_t> id_of(std::int64_t value, const char* what) {
  // The last one stands for "leave it as it is" in chown().
  if (value < 0 || value >= UINT32_MAX)
    return bad_archive(fmt::format("{} {} is out of range", what, value));
  return static_cast<std::uint32_t>(value);
}

bool checksum_fits(const std::uint8_t* block) {
  auto said = number_of(block, tar::kChecksum);
  if (!said) return false;
  std::int64_t plain = 0;
  std::int64_t with_sign = 0;  // As some old programs had it.
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    bool own = i >= tar::kChecksum.offset && i < tar::kChecksum.offset + tar::kChecksum.size;
    std::uint8_t byte = own ? ' ' : block[i];
    plain += byte;
    with_sign += static_cast<std::int8_t>(byte);
  }
  return *said == plain || *said == with_sign;
}

std::optional<TarEntry::Type> type_of(char flag) {
  switch (flag) {
    case '\0':
    case '0':
    case '7':  // "Contiguous": a file.
      return TarEntry::Type::file;
    case '1':
      return TarEntry::Type::hard_link;
    case '2':
      return TarEntry::Type::symlink;
    case '3':
      return TarEntry::Type::character_device;
    case '4':
      return TarEntry::Type::block_device;
    case '5':
      return TarEntry::Type::directory;
    case '6':
      return TarEntry::Type::fifo;
    default:
      return std::nullopt;
  }
}

bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

}  // namespace

Status TarReader::skip(std::uint64_t bytes) {
  std::array<std::uint8_t, 8192> piece;
  while (bytes > 0) {
    std::size_t size = std::min<std::uint64_t>(bytes, piece.size());
    if (Status status = read_exactly(source_, Bytes(piece).first(size), "a file of it"); !status) {
      return status;
    }
    bytes -= size;
  }
  return Status::ok();
}

/// False at an end of the stream between two blocks.
Result<bool> TarReader::read_block(std::uint8_t* block) {
  auto got = source_.read({block, kBlockBytes});
  if (!got) return got.status();
  if (*got == 0) return false;
  Status status = read_exactly(source_, {block + *got, kBlockBytes - *got}, "a header of it");
  if (!status) return status;
  return true;
}

Result<std::string> TarReader::read_content(std::uint64_t size) {
  if (size > kMaxExtensionBytes) return bad_archive("a header's extension is too long");
  std::string text(size, '\0');
  Status status = read_exactly(source_, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()},
                               "a header of it");
  if (status) status = skip((kBlockBytes - size % kBlockBytes) % kBlockBytes);
  if (!status) return status;
  return text;
}

Status TarReader::take_long_name(std::optional<std::string>& place, std::uint64_t size) {
  auto text = read_content(size);
  if (!text) return text.status();
  std::string name(text->c_str());
  if (name.size() > kMaxPathBytes) return bad_archive("a path is too long");
  place = std::move(name);
  return Status::ok();
}

/// "LENGTH KEY=VALUE\n", one after the other, LENGTH being that of all of it.
Status TarReader::take_pax(std::uint64_t size) {
  auto text = read_content(size);
  if (!text) return text.status();
  std::string_view rest(*text);
  while (!rest.empty()) {
    auto length = parse_number<std::size_t>(rest.substr(0, rest.find(' ')));
    std::size_t blank = rest.find(' ');
    if (!length || *length <= blank + 1 || *length > rest.size() || rest[*length - 1] != '\n') {
      return bad_archive("an extended header is damaged");
    }
    std::string_view record = rest.substr(blank + 1, *length - blank - 2);
    rest.remove_prefix(*length);
    std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) return bad_archive("an extended header is damaged");
    Status status = take_pax_record(record.substr(0, equals), record.substr(equals + 1));
    if (!status) return status;
  }
  return Status::ok();
}

Status TarReader::take_pax_record(std::string_view key, std::string_view value) {
  constexpr std::string_view kXattr = tar::kXattrKey;
  auto take_number = [&](std::optional<std::uint64_t>& place) {
    place = parse_number<std::uint64_t>(value);
    return place ? Status::ok()
                 : bad_archive(fmt::format("{} of an extended header is no number", key));
  };
  auto take_path = [&](std::optional<std::string>& place) {
    if (value.size() > kMaxPathBytes) return bad_archive("a path is too long");
    if (has_nul(value)) return bad_archive("a path has a NUL in it");
    place = value;
    return Status::ok();
  };
  if (key == "path") return take_path(extension_.path);
  if (key == "linkpath") return take_path(extension_.link);
  if (key == "size") return take_number(extension_.size);
  if (key == "uid") return take_number(extension_.uid);
  if (key == "gid") return take_number(extension_.gid);
  if (key.starts_with("GNU.sparse.")) return bad_archive("sparse files are not supported");
  if (key.starts_with(kXattr)) {
    std::string_view name = key.substr(kXattr.size());
    if (name.empty() || has_nul(name)) return bad_archive("an extended attribute has no name");
    if (extension_.xattrs.size() >= kMaxXattrs)
      return bad_archive("a file has too many attributes");
    extension_.xattrs[std::string(name)] = value;
    return Status::ok();
  }
  if (key != "mtime") return Status::ok();

  // Seconds, perhaps with a fraction: what is beyond nanoseconds is cut.
  bool negative = value.starts_with('-');
  if (negative) value.remove_prefix(1);
  std::string_view whole = value.substr(0, value.find('.'));
  std::string_view fraction = value.substr(std::min(value.size(), whole.size() + 1));
  auto seconds = parse_number<std::int64_t>(whole);
  if (!seconds || *seconds < 0) return bad_archive("mtime of an extended header is no number");
  std::uint32_t nanoseconds = 0;
  for (std::size_t i = 0; i < kNanosecondDigits; ++i) {
    char c = i < fraction.size() ? fraction[i] : '0';
    if (c < '0' || c > '9') return bad_archive("mtime of an extended header is no number");
    nanoseconds = nanoseconds * 10 + static_cast<std::uint32_t>(c - '0');
  }
  constexpr std::uint32_t kSecond = 1'000'000'000;
  extension_.mtime = negative ? -*seconds : *seconds;
  extension_.mtime_nsec = nanoseconds;
  if (negative && nanoseconds > 0) {
    --*extension_.mtime;
    extension_.mtime_nsec = kSecond - nanoseconds;
  }
  return Status::ok();
}

Result<std::optional<TarEntry>> TarReader::next() {
  if (ended_) return std::optional<TarEntry>();
  Status status = skip(left_ + padding_);
  left_ = padding_ = 0;
  if (!status) return status;
  extension_ = {};
  for (;;) {
    std::array<std::uint8_t, kBlockBytes> block{};
    auto got = read_block(block.data());
    if (!got) return got.status();
    bool is_zero = std::all_of(block.begin(), block.end(), [](std::uint8_t b) { return b == 0; });
    if (!*got && end_mark_ == EndMark::required) {
      return bad_archive("it ends without its end mark: it was cut off, or is no archive");
    }
    if (!*got || is_zero) {
      ended_ = true;
      return std::optional<TarEntry>();
    }
    if (!checksum_fits(block.data())) return bad_archive("a header's checksum is wrong");
    auto size = number_of(block.data(), tar::kSize);
    if (!size) return size.status();
    if (*size < 0) return bad_archive("a size is out of range");
    auto bytes = static_cast<std::uint64_t>(*size);

    char type = static_cast<char>(block[tar::kType]);
    switch (type) {
      case 'L':
        status = take_long_name(extension_.path, bytes);
        break;
      case 'K':
        status = take_long_name(extension_.link, bytes);
        break;
      case 'x':
        status = take_pax(bytes);
        break;
      case 'g':  // For the whole archive: a comment, or nothing that we use.
      case 'V':  // A volume's label.
        if (auto skipped = read_content(bytes); !skipped) status = skipped.status();
        break;
      default: {
        auto entry = entry_of(block.data(), type);
        if (!entry) return entry.status();
        return std::optional<TarEntry>(std::move(*entry));
      }
    }
    if (!status) return status;
  }
}

Result<TarEntry> TarReader::entry_of(const std::uint8_t* block, char type) {
  if (type == 'S') return bad_archive("sparse files are not supported");
  auto kind = type_of(type);
  if (!kind) {
    return bad_archive(
        fmt::format("entries of type {:#x} are not supported", static_cast<unsigned>(type)));
  }
  TarEntry entry;
  entry.type = *kind;
  entry.path = text_of(block, tar::kName);
  entry.link = text_of(block, tar::kLink);
  if (std::memcmp(block + tar::kMagic.offset, "ustar", tar::kMagic.size) == 0) {
    std::string prefix = text_of(block, tar::kPrefix);
    if (!prefix.empty()) entry.path = prefix + "/" + entry.path;
  }
  if (extension_.path) entry.path = std::move(*extension_.path);
  if (extension_.link) entry.link = std::move(*extension_.link);
  if (entry.path.empty()) return bad_archive("an entry has no name");
  if (type == '\0' && entry.path.ends_with('/')) entry.type = TarEntry::Type::directory;
  entry.xattrs = std::move(extension_.xattrs);

  struct Number {
    tar::Field field;
    std::int64_t value = 0;
  };
  Number mode{tar::kMode}, uid{tar::kUid}, gid{tar::kGid}, size{tar::kSize}, mtime{tar::kMtime},
      major{tar::kMajor}, minor{tar::kMinor};
  bool is_device =
      entry.type == TarEntry::Type::character_device || entry.type == TarEntry::Type::block_device;
  for (Number* number : {&mode, &uid, &gid, &size, &mtime, &major, &minor}) {
    if (!is_device && (number == &major || number == &minor)) continue;
    auto value = number_of(block, number->field);
    if (!value) return value.status();
    number->value = *value;
  }
  auto override = [](Number& number, const std::optional<std::uint64_t>& by) {
    if (by) number.value = static_cast<std::int64_t>(std::min<std::uint64_t>(*by, INT64_MAX));
  };
  override(uid, extension_.uid);
  override(gid, extension_.gid);
  override(size, extension_.size);
  if (extension_.mtime) mtime.value = *extension_.mtime;
  entry.mtime = mtime.value;
  entry.mtime_nsec = extension_.mtime_nsec;
  entry.mode = static_cast<std::uint32_t>(mode.value) & tar::kModeBits;
  auto owner = id_of(uid.value, "uid");
  auto group = id_of(gid.value, "gid");
  auto device_major = id_of(major.value, "device number");
  auto device_minor = id_of(minor.value, "device number");
  for (const auto* id : {&owner, &group, &device_major, &device_minor}) {
    if (!*id) return id->status();
  }
  entry.uid = *owner;
  entry.gid = *group;
  entry.major = *device_major;
  entry.minor = *device_minor;
  if (size.value < 0 || static_cast<std::uint64_t>(size.value) > kMaxSize) {
    return bad_archive("a size is out of range");
  }
  // Of other types it says something else, or nothing; there is no content.
  if (entry.type == TarEntry::Type::file) entry.size = static_cast<std::uint64_t>(size.value);
  left_ = entry.size;
  padding_ = (kBlockBytes - entry.size % kBlockBytes) % kBlockBytes;
  return entry;
}

Result<std::size_t> TarReader::read(Bytes into) {
  std::size_t most = std::min<std::uint64_t>(into.size(), left_);
  if (most == 0) return std::size_t{0};
  auto got = source_.read(into.first(most));
  if (!got) return got;
  if (*got == 0) return bad_archive("the stream ends within a file of it");
  left_ -= *got;
  return got;
}

}  // namespace sluice::agent
