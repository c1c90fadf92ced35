// Included before every file of an addon for Linux, so that even an addon built on a new system
// loads on old systems. The addon needs no newer glibc than Node.js 20 does (2.28), and no newer
// libstdc++ than that of GCC 6 (GLIBCXX_3.4.22). scripts/check-addons.sh checks this.
#pragma once

#if defined(__linux__) && __has_include(<gnu/libc-version.h>)

#if defined(__x86_64__)
#define RMSNORM_OLDEST_GLIBC "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define RMSNORM_OLDEST_GLIBC "GLIBC_2.17"
#endif

#if defined(RMSNORM_OLDEST_GLIBC)
// glibc 2.34 moved libdl and libpthread into libc, which gave these functions newer versions.
#define RMSNORM_OLD_SYMBOL(name, version) __asm__(".symver " name "," name "@" version)
RMSNORM_OLD_SYMBOL("dladdr", RMSNORM_OLDEST_GLIBC);
RMSNORM_OLD_SYMBOL("dlerror", RMSNORM_OLDEST_GLIBC);
RMSNORM_OLD_SYMBOL("dlopen", RMSNORM_OLDEST_GLIBC);
RMSNORM_OLD_SYMBOL("dlsym", RMSNORM_OLDEST_GLIBC);
RMSNORM_OLD_SYMBOL("pthread_mutex_trylock", RMSNORM_OLDEST_GLIBC);
// std::condition_variable::wait has a newer version for the same reason (GCC 12).
RMSNORM_OLD_SYMBOL("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE", "GLIBCXX_3.4.11");
#undef RMSNORM_OLD_SYMBOL
#undef RMSNORM_OLDEST_GLIBC
#endif

#endif
