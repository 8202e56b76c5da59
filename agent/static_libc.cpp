// What libraries would call of the C library that this program never asks of them: the longest path
// of a file system (of which the C library reads the table of mounts, by scanf, for libuv's
// realpath), messages in other languages, and numbers read by scanf from libuv; a name, to be
// printed, of an exception that nobody caught, from the C++ library. With those of
// third_party/glibc they would bring a third of a megabyte along.

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

extern "C" {

long pathconf(const char*, int) noexcept {
  return -1;
}

char* translated(const char*, const char* text, int) __asm__("__dcgettext");
char* translated(const char*, const char* text, int) {
  return const_cast<char*>(text);
}

// What asserts and complains, to a standard error that may be for wide characters: here it never
// is.
int complain(void*, const char* format, ...) __asm__("__fxprintf");
int complain(void*, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int result = ::vdprintf(STDERR_FILENO, format, arguments);
  va_end(arguments);
  return result;
}

// By names of their own, as the headers give scanf's functions other symbols.
int no_sscanf(const char*, const char*, ...) __asm__("sscanf");
int no_sscanf(const char*, const char*, ...) {
  return 0;
}
int no_fscanf(void*, const char*, ...) __asm__("fscanf");
int no_fscanf(void*, const char*, ...) {
  return 0;
}

}  // extern "C"

namespace __gnu_cxx {

void __verbose_terminate_handler() {
  std::abort();
}

}  // namespace __gnu_cxx
