// The library that unpacks zstd reads the formats of before 2016 too, by 90 KB of code that no
// image needs. What it calls there is here, and says that it can't; so the linker takes none of it.

#include <zstd.h>

#include <cstddef>

namespace {

// The library's own number for a magic that nobody knows (ZSTD_error_prefix_unknown), as it returns
// errors.
constexpr std::size_t kUnknownFormat = static_cast<std::size_t>(-10);

}  // namespace

#define SLUICE_OLD_FORMAT(version)                                                           \
  void* ZSTDv##version##_createDCtx() {                                                      \
    return nullptr;                                                                          \
  }                                                                                          \
  std::size_t ZSTDv##version##_freeDCtx(void*) {                                             \
    return 0;                                                                                \
  }                                                                                          \
  std::size_t ZSTDv##version##_getFrameParams(void*, const void*, std::size_t) {             \
    return kUnknownFormat;                                                                   \
  }                                                                                          \
  std::size_t ZSTDv##version##_decompress_usingDict(void*, void*, std::size_t, const void*,  \
                                                    std::size_t, const void*, std::size_t) { \
    return kUnknownFormat;                                                                   \
  }                                                                                          \
  void ZSTDv##version##_findFrameSizeInfoLegacy(const void*, std::size_t, std::size_t* size, \
                                                unsigned long long* bound) {                 \
    *size = kUnknownFormat;                                                                  \
    *bound = ZSTD_CONTENTSIZE_ERROR;                                                         \
  }                                                                                          \
  void* ZBUFFv##version##_createDCtx() {                                                     \
    return nullptr;                                                                          \
  }                                                                                          \
  std::size_t ZBUFFv##version##_freeDCtx(void*) {                                            \
    return 0;                                                                                \
  }                                                                                          \
  std::size_t ZBUFFv##version##_decompressInitDictionary(void*, const void*, std::size_t) {  \
    return kUnknownFormat;                                                                   \
  }                                                                                          \
  std::size_t ZBUFFv##version##_decompressContinue(void*, void*, std::size_t*, const void*,  \
                                                   std::size_t*) {                           \
    return kUnknownFormat;                                                                   \
  }

extern "C" {
SLUICE_OLD_FORMAT(05)
SLUICE_OLD_FORMAT(06)
SLUICE_OLD_FORMAT(07)
}
