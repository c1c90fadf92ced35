#!/usr/bin/env bash
# check-abi.sh ADDON...: whether addons for Linux load wherever Node.js 20 does: they need no newer
# glibc or libstdc++ than that, no other library, and nothing unversioned but Node-API. Also that they
# stay loaded (nodelete) and define nothing but what Node.js looks for.
set -euo pipefail

newest_glibc=2.28
newest_glibcxx=3.4.22
libraries='libc|libm|libdl|libpthread|libstdc\+\+|libgcc_s|ld-linux-x86-64|ld-linux-aarch64'
exports='napi_register_module_v1 node_api_module_get_api_version_v1'

failed=0
fail() {
  echo "$addon: $*" >&2
  failed=1
}

for addon in "$@"; do
  dynamic=$(readelf --wide --dynamic "$addon")
  undefined=$(nm --dynamic --undefined-only --format=just-symbols "$addon")
  defined=$(nm --dynamic --defined-only --format=just-symbols "$addon" | sort | xargs)

  while read -r library; do
    [[ $library =~ ^($libraries)\.so(\.[0-9]+)?$ ]] || fail "needs the library $library"
  done < <(sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' <<<"$dynamic")
  grep -q 'FLAGS_1.*NODELETE' <<<"$dynamic" || fail 'can be unloaded: no -z nodelete'

  while read -r symbol; do
    case $symbol in
      *@GLIBC_*) newest=$newest_glibc ;;
      *@GLIBCXX_*) newest=$newest_glibcxx ;;
      *@*) continue ;; # of libgcc_s and of the C++ ABI, which come with these
      napi_* | node_api_* | __gmon_start__ | _ITM_*) continue ;;
      *) fail "has $symbol undefined, of no library's version" && continue ;;
    esac
    version=${symbol##*_}
    [[ $(printf '%s\n' "$version" "$newest" | sort -V | tail -1) == "$newest" ]] ||
      fail "needs $symbol, newer than $newest"
  done <<<"$undefined"

  [[ $defined == "$exports" ]] || fail "defines other symbols than $exports: $defined"
done

((failed == 0)) && echo "$# addons load wherever Node.js 20 does"
exit "$failed"
