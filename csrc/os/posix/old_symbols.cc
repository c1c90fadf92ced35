// What newer headers of libstdc++ want of newer libraries, in the addon itself: see old_symbols.h.

#if defined(__linux__) && __has_include(<gnu/libc-version.h>)

#include <new>

#define RMSNORM_HIDDEN __attribute__((visibility("hidden")))

// Of glibc 2.32: whether std::shared_ptr may count without atomic operations. Never.
extern "C" RMSNORM_HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

namespace std {

// Of GCC 11: for an array whose bytes can not be counted.
[[noreturn]] RMSNORM_HIDDEN void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { throw bad_array_new_length(); }

}  // namespace std

#endif
