// Symbols that new headers of libstdc++ expect from new libraries, defined here (old_symbols.h).

#if defined(__linux__) && __has_include(<gnu/libc-version.h>)

#include <new>

#define RMSNORM_HIDDEN __attribute__((visibility("hidden")))

// From glibc 2.32: whether std::shared_ptr may count without atomic operations. It never may here.
extern "C" RMSNORM_HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

namespace std {

// From GCC 11: called for an array whose size in bytes overflows.
[[noreturn]] RMSNORM_HIDDEN void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { throw bad_array_new_length(); }

}  // namespace std

#endif
