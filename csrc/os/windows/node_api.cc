// Finds the functions of Node-API in the program that loads the addon, whatever its name is. The
// addon calls them through the addresses that this file defines (__imp_*). An import library would
// define the addresses, too, but load them only from a program called node.exe. NODE_API_FUNCTIONS
// lists the functions that the header declares; cmake/node_api.cmake makes the list.
//
// MSVC does not need this file, because it loads the functions on their first call (delay loading),
// and a hook of cmake-js then finds the program. mingw-w64 has delay loading, too, but its stubs
// lose arguments that are floats.

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

// The library that contains Node.js, as in NW.js; else the program itself.
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

  // Node.js unloads an addon with the last worker that loaded it, but the addon's threads may still
  // run its code. Pinning the addon prevents the unloading.
  HMODULE self = nullptr;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCWSTR>(find_node_api), &self);
}

}  // namespace
