// The functions of Node-API, from whatever program loads the addon: the addresses that calls go
// through, which an import library would bind to a program called node.exe. NODE_API_FUNCTIONS are
// what the header knows: cmake/node_api.cmake makes it. Not for MSVC, whose delay loading asks the
// program (cmake-js brings that); of mingw-w64's, the stubs lose arguments that are floats.

#define WIN32_LEAN_AND_MEAN
#include <node_api.h>
#include <windows.h>

#include "node_api_functions.h"

namespace {

constexpr const wchar_t* kLibraries[] = {L"libnode.dll", L"node.dll"};

// In place of what a program is too old to have.
napi_status lacking() { return napi_generic_failure; }

}  // namespace

#define DECLARE_ADDRESS(name) void* __imp_##name = reinterpret_cast<void*>(lacking);
extern "C" {
NODE_API_FUNCTIONS(DECLARE_ADDRESS)
}

namespace {

// Node.js as a library, of NW.js for one, else the program itself.
HMODULE program_of_node() {
  for (const wchar_t* const name : kLibraries) {
    if (const HMODULE library = GetModuleHandleW(name)) return library;
  }
  return GetModuleHandleW(nullptr);
}

// Before any other code of the addon can run.
[[gnu::constructor]] void find_node_api() {
  const HMODULE host = program_of_node();
#define FIND_ADDRESS(name)                                \
  if (const auto address = GetProcAddress(host, #name)) { \
    __imp_##name = reinterpret_cast<void*>(address);      \
  }
  NODE_API_FUNCTIONS(FIND_ADDRESS)

  // Node unloads an addon with the last worker that loaded it, under our threads' feet: never this.
  HMODULE self = nullptr;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCWSTR>(find_node_api), &self);
}

}  // namespace
