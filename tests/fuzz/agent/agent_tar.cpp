// Any bytes as a tar archive: read the same however they are cut, within the limits, and what was
// read is the same again once it was written. The first byte says whether an end mark is needed.
// Checksums are made right first, as hardly any input would come past them.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "agent/archive/tar_reader.h"
#include "agent/archive/tar_writer.h"
#include "check.h"

using namespace sluice;
using namespace sluice::agent;

namespace {

struct Seen {
  std::vector<TarEntry> entries;
  std::vector<std::string> contents;
  bool ok = false;
};

Seen read_all(ConstBytes in, std::size_t piece, TarReader::EndMark end_mark) {
  MemorySource source(in, piece);
  TarReader reader(source, end_mark);
  Seen seen;
  for (;;) {
    auto entry = reader.next();
    if (!entry) {
      FUZZ_CHECK(entry.status().code() == StatusCode::invalid_argument);
      return seen;
    }
    seen.ok = !*entry;
    if (!*entry) return seen;
    const TarEntry& one = **entry;
    FUZZ_CHECK(!one.path.empty() && one.path.size() <= TarReader::kMaxPathBytes);
    FUZZ_CHECK(one.link.size() <= TarReader::kMaxPathBytes);
    FUZZ_CHECK(one.path.find('\0') == std::string::npos);
    FUZZ_CHECK(one.xattrs.size() <= TarReader::kMaxXattrs && one.mode <= 07777);
    FUZZ_CHECK(one.uid != UINT32_MAX && one.gid != UINT32_MAX && one.mtime_nsec < 1'000'000'000);
    seen.entries.push_back(one);
    std::string& content = seen.contents.emplace_back();
    std::uint8_t buffer[300];
    for (;;) {
      auto got = reader.read(buffer);
      if (!got) return seen;
      if (*got == 0) break;
      content.append(buffer, buffer + *got);
    }
    FUZZ_CHECK(content.size() == one.size);
  }
}

bool same(const TarEntry& a, const TarEntry& b) {
  return a.type == b.type && a.path == b.path && a.link == b.link && a.size == b.size &&
         a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.mtime == b.mtime &&
         a.mtime_nsec == b.mtime_nsec && a.xattrs == b.xattrs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  auto end_mark = (data[0] & 1) != 0 ? TarReader::EndMark::required : TarReader::EndMark::optional;
  std::vector<std::uint8_t> in(data + 1, data + size);
  for (std::size_t block = 0; block + tar::kBlockBytes <= in.size(); block += tar::kBlockBytes) {
    std::uint8_t* header = &in[block];
    bool is_zero = std::all_of(header, header + tar::kBlockBytes, [](int b) { return b == 0; });
    if (is_zero || (data[0] & 2) == 0) continue;
    unsigned sum = 0;
    for (std::size_t i = 0; i < tar::kBlockBytes; ++i) {
      sum += i >= tar::kChecksum.offset && i < tar::kChecksum.offset + 8 ? ' ' : header[i];
    }
    char digits[8];
    std::snprintf(digits, sizeof digits, "%06o", sum);
    std::copy_n(digits, 7, header + tar::kChecksum.offset);
    header[tar::kChecksum.offset + 7] = ' ';
  }
  Seen whole = read_all(in, SIZE_MAX, end_mark);
  Seen cut = read_all(in, 7, end_mark);
  FUZZ_CHECK(cut.ok == whole.ok && cut.contents == whole.contents);
  if (!whole.ok) return 0;
  StringSink sink;
  TarWriter writer(sink);
  for (std::size_t i = 0; i < whole.entries.size(); ++i) {
    const std::string& content = whole.contents[i];
    FUZZ_CHECK(writer.add(whole.entries[i]));
    FUZZ_CHECK(
        writer.write({reinterpret_cast<const std::uint8_t*>(content.data()), content.size()}));
  }
  FUZZ_CHECK(writer.finish());
  Seen again = read_all({reinterpret_cast<const std::uint8_t*>(sink.text.data()), sink.text.size()},
                        SIZE_MAX, TarReader::EndMark::required);
  FUZZ_CHECK(again.ok && again.contents == whole.contents);
  for (std::size_t i = 0; i < whole.entries.size(); ++i) {
    FUZZ_CHECK(same(again.entries[i], whole.entries[i]));
  }
  return 0;
}
