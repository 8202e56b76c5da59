#include "agent/archive/tar_writer.h"

#include <fmt/format.h>

#include <array>
#include <vector>

namespace sluice::agent {

namespace {

using tar::kBlockBytes;
using Block = std::array<std::uint8_t, kBlockBytes>;

char flag_of(TarEntry::Type type) {
  switch (type) {
    case TarEntry::Type::file:
      return '0';
    case TarEntry::Type::hard_link:
      return '1';
    case TarEntry::Type::symlink:
      return '2';
    case TarEntry::Type::character_device:
      return '3';
    case TarEntry::Type::block_device:
      return '4';
    case TarEntry::Type::directory:
      return '5';
    case TarEntry::Type::fifo:
      return '6';
  }
  return '0';
}

void put_text(Block& block, tar::Field field, std::string_view text) {
  text = text.substr(0, field.size);
  std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(field.offset));
}

bool fits(tar::Field field, std::int64_t value) {
  return value >= 0 && (value >> (3 * (field.size - 1))) == 0;
}

/// Octal, with a NUL behind it. What doesn't fit is 0: a pax record has it.
void put_number(Block& block, tar::Field field, std::int64_t value) {
  std::string digits(field.size - 1, '0');
  auto rest = static_cast<std::uint64_t>(fits(field, value) ? value : 0);
  for (std::size_t i = digits.size(); i > 0; --i, rest >>= 3) {
    digits[i - 1] = static_cast<char>('0' + (rest & 7));
  }
  put_text(block, field, digits);
}

/// "LENGTH KEY=VALUE\n", where LENGTH counts its own digits.
std::string pax_record(std::string_view key, std::string_view value) {
  std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (length != rest + std::to_string(length).size()) {
    length = rest + std::to_string(length).size();
  }
  return fmt::format("{} {}={}\n", length, key, value);
}

std::string time_text(std::int64_t seconds, std::uint32_t nanoseconds) {
  constexpr std::uint32_t kSecond = 1'000'000'000;
  if (nanoseconds == 0) return fmt::format("{}", seconds);
  if (seconds >= 0) return fmt::format("{}.{:09}", seconds, nanoseconds);
  return fmt::format("-{}.{:09}", -(seconds + 1), kSecond - nanoseconds);
}

/// All that a plain header can't say of it.
std::string pax_records(const TarEntry& entry) {
  std::string records;
  auto add = [&records](std::string_view key, std::string_view value) {
    records += pax_record(key, value);
  };
  if (entry.path.size() > tar::kName.size) add("path", entry.path);
  if (entry.link.size() > tar::kLink.size) add("linkpath", entry.link);
  if (!fits(tar::kUid, entry.uid)) add("uid", fmt::format("{}", entry.uid));
  if (!fits(tar::kGid, entry.gid)) add("gid", fmt::format("{}", entry.gid));
  if (!fits(tar::kSize, static_cast<std::int64_t>(entry.size))) {
    add("size", fmt::format("{}", entry.size));
  }
  if (entry.mtime_nsec != 0 || !fits(tar::kMtime, entry.mtime)) {
    add("mtime", time_text(entry.mtime, entry.mtime_nsec));
  }
  for (const auto& [name, value] : entry.xattrs) {
    add(fmt::format("{}{}", tar::kXattrKey, name), value);
  }
  return records;
}

Block header_of(const TarEntry& entry, char flag, std::uint64_t size) {
  Block block{};
  put_text(block, tar::kName, entry.path);
  put_text(block, tar::kLink, entry.link);
  put_number(block, tar::kMode, entry.mode);
  put_number(block, tar::kUid, entry.uid);
  put_number(block, tar::kGid, entry.gid);
  put_number(block, tar::kSize, static_cast<std::int64_t>(size));
  put_number(block, tar::kMtime, entry.mtime);
  put_number(block, tar::kMajor, entry.major);
  put_number(block, tar::kMinor, entry.minor);
  block[tar::kType] = static_cast<std::uint8_t>(flag);
  put_text(block, tar::kMagic, "ustar");
  put_text(block, tar::kVersion, "00");
  put_text(block, tar::kChecksum, "        ");
  unsigned sum = 0;
  for (std::uint8_t byte : block) sum += byte;
  put_text(block, tar::kChecksum, fmt::format("{:06o}", sum));
  block[tar::kChecksum.offset + 6] = 0;
  return block;
}

}  // namespace

Status TarWriter::add(const TarEntry& entry) {
  if (Status status = pad(); !status) return status;
  if (std::string records = pax_records(entry); !records.empty()) {
    TarEntry extension;
    extension.path = "pax";
    extension.mode = 0644;
    if (Status status = sink_.write(header_of(extension, 'x', records.size())); !status) {
      return status;
    }
    Status status = write({reinterpret_cast<const std::uint8_t*>(records.data()), records.size()});
    if (status) status = pad();
    if (!status) return status;
  }
  return sink_.write(header_of(entry, flag_of(entry.type), entry.size));
}

Status TarWriter::write(ConstBytes content) {
  written_ += content.size();
  return sink_.write(content);
}

Status TarWriter::pad() {
  std::size_t missing = (kBlockBytes - written_ % kBlockBytes) % kBlockBytes;
  written_ = 0;
  return missing == 0 ? Status::ok() : sink_.write(std::vector<std::uint8_t>(missing));
}

Status TarWriter::finish() {
  if (Status status = pad(); !status) return status;
  return sink_.write(std::vector<std::uint8_t>(2 * kBlockBytes));
}

}  // namespace sluice::agent
