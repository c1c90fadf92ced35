#include "../platform.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <iterator>
#include <new>

namespace rmsnorm {
namespace {

std::wstring wide(const std::string& text) {
  std::wstring result(text.size(), L'\0');  // UTF-16 needs no more units than UTF-8
  const int units = MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()),
                                        result.data(), static_cast<int>(result.size()));
  result.resize(static_cast<std::size_t>(units));
  return result;
}

std::string utf8(const std::wstring& text) {
  std::string result(3 * text.size(), '\0');  // UTF-8 needs at most 3 units for one of UTF-16
  const int units =
      WideCharToMultiByte(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), result.data(),
                          static_cast<int>(result.size()), nullptr, nullptr);
  result.resize(static_cast<std::size_t>(units));
  return result;
}

// The system's message for an error, in the system's language, and the error number, which is the
// same in all languages.
std::string error_text(DWORD error) {
  wchar_t text[512];
  DWORD size = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr,
                              error, 0, text, static_cast<DWORD>(std::size(text)), nullptr);
  while (size > 0 && (text[size - 1] <= L' ' || text[size - 1] == L'.')) --size;
  const std::string number = "error " + std::to_string(error);
  return size == 0 ? number : utf8({text, size}) + ", " + number;
}

// An open file, closed at the end of its scope.
struct OpenFile {
  HANDLE handle;

  ~OpenFile() {
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
  }
};

// What a thread's slot of FlsAlloc points to: the owned pointer (platform.h) and its release().
struct OwnedPointer {
  void* pointer;
  void (*release)(void*);
};

void WINAPI end_thread(void* value) {
  const auto* const owned = static_cast<const OwnedPointer*>(value);
  owned->release(owned->pointer);
  delete owned;
}

DWORD owned_pointer() {
  static const DWORD slot = FlsAlloc(&end_thread);
  return slot;
}

DWORD borrowed_pointer() {
  static const DWORD slot = TlsAlloc();
  return slot;
}

}  // namespace

// Does not use getenv: the C runtime's copy dates from before JavaScript could set process.env.
std::optional<std::string> environment_variable(const char* name) {
  const std::wstring key = wide(name);
  std::wstring value;
  DWORD units = GetEnvironmentVariableW(key.c_str(), nullptr, 0);
  // Repeats until the value fits, because another thread may set it meanwhile. The size of a value
  // that does not fit includes its terminating zero.
  while (units > value.size()) {
    value.resize(units);
    units = GetEnvironmentVariableW(key.c_str(), value.data(), units);
  }
  value.resize(units);
  if (value.empty()) return std::nullopt;
  return utf8(value);
}

// A name without a folder is looked up among the system's libraries only, so that no file in a
// program's folder can replace it.
void* open_library(const std::string& name, std::string* error) {
  std::wstring path = wide(name);
  for (wchar_t& unit : path) {
    if (unit == L'/') unit = L'\\';
  }
  const bool has_folder = path.find(L'\\') != std::wstring::npos;
  const HMODULE library =
      LoadLibraryExW(path.c_str(), nullptr, has_folder ? 0 : LOAD_LIBRARY_SEARCH_SYSTEM32);
  if (library == nullptr) *error = error_text(GetLastError());
  return library;
}

void* find_function(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

std::string module_path() {
  constexpr DWORD kLongest = 32768;  // UTF-16 units of a path
  HMODULE module = nullptr;
  if (GetModuleHandleExW(
          GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
          reinterpret_cast<LPCWSTR>(&module_path), &module) == 0) {
    return {};
  }
  std::wstring path(kLongest, L'\0');
  path.resize(GetModuleFileNameW(module, path.data(), kLongest));
  return utf8(path);
}

std::optional<std::string> read_file(const std::string& path, std::size_t max_bytes,
                                     std::vector<std::byte>* bytes) {
  const std::wstring name = wide(path);
  const OpenFile file{CreateFileW(name.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                                  nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr)};
  if (file.handle == INVALID_HANDLE_VALUE) {
    const DWORD error = GetLastError();
    if (error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND) return kMissingText;
    const DWORD attributes = GetFileAttributesW(name.c_str());
    const bool is_folder =
        attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
    return is_folder ? not_regular_text() : error_text(error);
  }
  LARGE_INTEGER size = {};
  if (GetFileType(file.handle) != FILE_TYPE_DISK) return not_regular_text();
  if (GetFileSizeEx(file.handle, &size) == 0) return error_text(GetLastError());
  if (static_cast<ULONGLONG>(size.QuadPart) > max_bytes) return too_large_text(max_bytes);
  const std::size_t begin = bytes->size();
  bytes->resize(begin + static_cast<std::size_t>(size.QuadPart));
  DWORD done = 0;
  if (ReadFile(file.handle, bytes->data() + begin, static_cast<DWORD>(size.QuadPart), &done,
               nullptr) == 0) {
    return error_text(GetLastError());
  }
  bytes->resize(begin + done);
  return std::nullopt;
}

void advise_huge_pages(void*, std::int64_t) {}

// Does not use thread_local: once a thread has used a thread_local variable with a destructor, the
// program does not end.
void* thread_pointer() {
  const auto* const owned = static_cast<const OwnedPointer*>(FlsGetValue(owned_pointer()));
  return owned == nullptr ? nullptr : owned->pointer;
}

bool set_thread_pointer(void* pointer, void (*release)(void*)) {
  auto* const owned = new (std::nothrow) OwnedPointer{pointer, release};
  if (owned != nullptr && FlsSetValue(owned_pointer(), owned) != 0) return true;
  delete owned;
  return false;
}

void* borrowed_thread_pointer() { return TlsGetValue(borrowed_pointer()); }
void set_borrowed_thread_pointer(void* pointer) { TlsSetValue(borrowed_pointer(), pointer); }

}  // namespace rmsnorm
