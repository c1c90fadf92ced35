// Code that differs by operating system: posix/platform.cc, windows/platform.cc. Strings are UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rmsnorm {

// The current value of an environment variable; nothing if the variable is unset or empty.
std::optional<std::string> environment_variable(const char* name);

// Opens a dynamic library, which is never closed. `name` is a path, or a name that the system looks
// up in its own folders. On failure it returns null and leaves the system's message in *error.
void* open_library(const std::string& name, std::string* error);

// The address of a function of the library; null if it has none with that name.
void* find_function(void* library, const char* name);

// The path of the file that contains this code: the addon, or the program of the native tests.
// Empty if unknown.
std::string module_path();

#if defined(_WIN32)
constexpr char kPathSeparator = '\\';
#else
constexpr char kPathSeparator = '/';
#endif

// Appends the content of a regular file of at most `max_bytes` bytes to *bytes. Never waits, not
// even for the other end of a pipe. Returns nothing on success, else the reason of the failure:
// kMissingText if there is no such file.
std::optional<std::string> read_file(const std::string& path, std::size_t max_bytes,
                                     std::vector<std::byte>* bytes);

// read_file() returns these for files that do not exist, are not regular, or are too large.
constexpr const char* kMissingText = "there is no such file";
inline std::string not_regular_text() { return "it is not a regular file"; }
inline std::string too_large_text(std::size_t most) {
  return "it is larger than " + std::to_string(most) + " bytes";
}

// Asks for huge pages inside memory that nobody has written yet. Does nothing except on Linux.
void advise_huge_pages(void* memory, std::int64_t bytes);

// A pointer that the calling thread owns, null until it is set. release(pointer) is called when the
// thread ends, but not always for the thread that ends the process. If there is no memory to store
// the pointer, set_thread_pointer() returns false and the caller still owns the pointer.
void* thread_pointer();
[[nodiscard]] bool set_thread_pointer(void* pointer, void (*release)(void*));

// A second pointer of the calling thread, to an object that the thread does not own. The object is
// never released here.
void* borrowed_thread_pointer();
void set_borrowed_thread_pointer(void* pointer);

}  // namespace rmsnorm
