#!/usr/bin/env bash
# check-addons.sh ADDON...: checks that addons load wherever Node.js 20 runs, and export only the symbols
# that Node.js looks for. On Linux an addon may need no newer glibc or libstdc++ than Node.js 20, no other
# library, and no unversioned symbols except Node-API; and it must stay loaded (nodelete). On Windows
# (folders win32-*) it may import only libraries of Windows, and must not assume that the stack is aligned
# to more than 16 bytes.
set -euo pipefail

newest_glibc=2.28
newest_glibcxx=3.4.22
linux_libraries='libc|libm|libdl|libpthread|libstdc\+\+|libgcc_s|ld-linux-x86-64|ld-linux-aarch64'
windows_libraries='KERNEL32.dll msvcrt.dll'
exports='napi_register_module_v1 node_api_module_get_api_version_v1'
objdump=x86_64-w64-mingw32-objdump

failed=0
fail() {
  echo "$addon: $*" >&2
  failed=1
}

check_linux() {
  local dynamic undefined library symbol newest version
  dynamic=$(readelf --wide --dynamic "$addon")
  undefined=$(nm --dynamic --undefined-only --format=just-symbols "$addon")
  defined=$(nm --dynamic --defined-only --format=just-symbols "$addon" | sort | xargs)

  while read -r library; do
    [[ $library =~ ^($linux_libraries)\.so(\.[0-9]+)?$ ]] || fail "needs the library $library"
  done < <(sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' <<<"$dynamic")
  grep -q 'FLAGS_1.*NODELETE' <<<"$dynamic" || fail 'can be unloaded: no -z nodelete'

  while read -r symbol; do
    case $symbol in
      *@GLIBC_*) newest=$newest_glibc ;;
      *@GLIBCXX_*) newest=$newest_glibcxx ;;
      *@*) continue ;; # libgcc_s and the C++ ABI, which come with these libraries
      napi_* | node_api_* | __gmon_start__ | _ITM_*) continue ;;
      *) fail "has the undefined symbol $symbol, which has no version of an allowed library" && continue ;;
    esac
    version=${symbol##*_}
    [[ $(printf '%s\n' "$version" "$newest" | sort -V | tail -1) == "$newest" ]] ||
      fail "needs $symbol, newer than $newest"
  done <<<"$undefined"
}

check_windows() {
  local headers imported flag aligned
  headers=$($objdump -p "$addon")
  imported=$(sed -nE 's/.*DLL Name: (.*)/\1/p' <<<"$headers" | sort | xargs)
  defined=$(sed -n '/Name Pointer\] Table/,/^$/p' <<<"$headers" | sed -nE 's/.*\] ([a-z].*)/\1/p' | sort | xargs)
  [[ $imported == "$windows_libraries" ]] || fail "imports $imported, not only $windows_libraries"
  for flag in DYNAMIC_BASE NX_COMPAT; do
    grep -q "$flag" <<<"$headers" || fail "lacks $flag"
  done
  # Aligned moves between memory and vectors of 32 or 64 bytes. Streaming stores are not counted: the
  # code checks the alignment before it uses them.
  aligned=$($objdump -d --no-show-raw-insn "$addon" |
    grep -cE 'vmov(ap[sd]|dqa(32|64)?) .*(\(.*%[yz]mm|%[yz]mm.*\()') || true
  ((aligned == 0)) || fail "has $aligned aligned vector moves"
}

for addon in "$@"; do
  if [[ $addon == */win32-* ]]; then check_windows; else check_linux; fi
  [[ $defined == "$exports" ]] || fail "defines $defined, not only $exports"
done

((failed == 0)) && echo "$# addons load wherever Node.js 20 does"
exit "$failed"
