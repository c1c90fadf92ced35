// The functions of Node-API, found in the program that loads the addon, whatever its name is. Calls
// go through these addresses, which an import library would bind to a program called node.exe.
// NODE_API_FUNCTIONS lists the functions that the header declares; cmake/node_api.cmake makes it.
//
// MSVC does not need this file: its delay loading asks the program (cmake-js brings that). The
// stubs of mingw-w64's delay loading lose arguments that are floats.

#define WIN32_LEAN_AND_MEAN
#include <node_api.h>
#include <windows.h>

#include "node_api_functions.h"

namespace {

constexpr const wchar_t* kLibraries[] = {L"libnode.dll", L"node.dll"};

// Called in place of a function that the program is too old to have.
napi_status lacking() { return napi_generic_failure; }

}  // namespace

#define DECLARE_ADDRESS(name) void* __imp_##name = reinterpret_cast<void*>(lacking);
extern "C" {
NODE_API_FUNCTIONS(DECLARE_ADDRESS)
}

namespace {

// Node.js as a library, as in NW.js; else the program itself.
HMODULE program_of_node() {
  for (const wchar_t* const name : kLibraries) {
    if (const HMODULE library = GetModuleHandleW(name)) return library;
  }
  return GetModuleHandleW(nullptr);
}

// Runs before any other code of the addon.
[[gnu::constructor]] void find_node_api() {
  const HMODULE host = program_of_node();
#define FIND_ADDRESS(name)                                \
  if (const auto address = GetProcAddress(host, #name)) { \
    __imp_##name = reinterpret_cast<void*>(address);      \
  }
  NODE_API_FUNCTIONS(FIND_ADDRESS)

  // Node.js unloads an addon with the last worker that loaded it, while our threads may still run
  // in it. Pinning prevents that.
  HMODULE self = nullptr;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCWSTR>(find_node_api), &self);
}

}  // namespace
