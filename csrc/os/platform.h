// What operating systems do differently: posix/platform.cc, windows/platform.cc. Strings are UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rmsnorm {

// An environment variable as it is now, nothing if it is not set or empty.
std::optional<std::string> environment_variable(const char* name);

// Opens a dynamic library, never to be closed. `name` is a path, or what the system looks up in its
// own folders. Null, and the system's words in *error, if it can not.
void* open_library(const std::string& name, std::string* error);

// The address of a function of the library, null if it has none of that name.
void* find_function(void* library, const char* name);

// The file this code is in: the addon, or the program of the native tests. Empty if nobody knows.
std::string module_path();

#if defined(_WIN32)
constexpr char kPathSeparator = '\\';
#else
constexpr char kPathSeparator = '/';
#endif

// Appends a regular file of at most `most` bytes to *bytes. Never waits, as for the other end of a
// pipe. Returns nothing, or why it was not read: of no such file, kMissingText.
std::optional<std::string> read_file(const std::string& path, std::size_t most,
                                     std::vector<std::byte>* bytes);

// What read_file() says of files that are not there, of others than regular ones, and of those that
// are too large.
constexpr const char* kMissingText = "there is no such file";
inline std::string not_regular_text() { return "it is not a regular file"; }
inline std::string too_large_text(std::size_t most) {
  return "it has more than " + std::to_string(most) + " bytes";
}

// Asks for huge pages inside of memory that nobody has written yet. Only Linux has them to give.
void advise_huge_pages(void* memory, std::int64_t bytes);

// This thread's one pointer, null until it is set. When the thread ends, `release` is called with
// it; that of the thread that ends the process may be left. set_thread_pointer() is false, and the
// pointer still the caller's, where there is no memory to keep it.
void* thread_pointer();
[[nodiscard]] bool set_thread_pointer(void* pointer, void (*release)(void*));

// Another pointer of this thread's, to what belongs to somebody else: nothing is called with it.
void* borrowed_thread_pointer();
void set_borrowed_thread_pointer(void* pointer);

}  // namespace rmsnorm
