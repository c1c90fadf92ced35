#!/usr/bin/env bash
# check-dll.sh ADDON...: whether addons for Windows load in any Node.js: they import what is part of
# Windows, export what Node.js looks for, and do not take the stack for more aligned than it is there.
set -euo pipefail

libraries='KERNEL32.dll msvcrt.dll'
exports='napi_register_module_v1 node_api_module_get_api_version_v1'
objdump=x86_64-w64-mingw32-objdump

failed=0
fail() {
  echo "$addon: $*" >&2
  failed=1
}

for addon in "$@"; do
  headers=$($objdump -p "$addon")
  imported=$(sed -nE 's/.*DLL Name: (.*)/\1/p' <<<"$headers" | sort | xargs)
  exported=$(sed -n '/Name Pointer\] Table/,/^$/p' <<<"$headers" | sed -nE 's/.*\] ([a-z].*)/\1/p' | sort | xargs)
  [[ $imported == "$libraries" ]] || fail "imports other libraries than $libraries: $imported"
  [[ $exported == "$exports" ]] || fail "exports other functions than $exports: $exported"
  for flag in DYNAMIC_BASE NX_COMPAT; do
    grep -q "$flag" <<<"$headers" || fail "lacks $flag"
  done
  # Moves between memory and vectors of 32 and 64 bytes; streaming stores are on memory whose
  # alignment is looked at.
  aligned=$($objdump -d --no-show-raw-insn "$addon" |
    grep -cE 'vmov(ap[sd]|dqa(32|64)?) .*(\(.*%[yz]mm|%[yz]mm.*\()') || true
  ((aligned == 0)) || fail "has $aligned moves of aligned vectors"
done

((failed == 0)) && echo "$# addons load in any Node.js for Windows"
exit "$failed"
