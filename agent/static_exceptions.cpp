// What the C++ library throws with, and what both it and the C library unwind the stack with. The
// program is linked without tables to unwind by (without_unwind_tables.ld), so whatever is thrown
// ends it: here at once, without the 25 KB that would look for those tables first.

#include <cstddef>
#include <cstdlib>

extern "C" {

void* __cxa_allocate_exception(std::size_t) noexcept {
  std::abort();
}
void __cxa_free_exception(void*) noexcept {}
[[noreturn]] void __cxa_throw(void*, void*, void (*)(void*)) {
  std::abort();
}
[[noreturn]] void __cxa_rethrow() {
  std::abort();
}
void* __cxa_begin_catch(void*) noexcept {
  std::abort();
}
void __cxa_end_catch() {}

// Only tables would name these, and only unwinding would call them.
[[noreturn]] void __gxx_personality_v0() {
  std::abort();
}
[[noreturn]] void __gcc_personality_v0() {
  std::abort();
}
[[noreturn]] void _Unwind_Resume() {
  std::abort();
}

// The end of a thread by pthread_exit() or pthread_cancel(): threads here return.
[[noreturn]] void _Unwind_ForcedUnwind() {
  std::abort();
}
[[noreturn]] void _Unwind_GetCFA() {
  std::abort();
}

}  // extern "C"
