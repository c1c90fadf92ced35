#!/usr/bin/env bash
# Runs the tests of a doctest program on all processors, each in a process of its own:
# run-doctest.sh PROGRAM [ARGUMENTS]..., where PROGRAM may begin with an emulator, as in
# 'qemu-aarch64-static build/native_tests'. Ends with one line of counts for all, as doctest writes it.
set -euo pipefail

read -ra program <<<"$1"
shift
count=$("${program[@]}" "$@" --count | sed -nE 's/.*current filters: ([0-9]+)$/\1/p')

# A part counts all tests as passed that others run: its own line of counts says nothing.
run_test() {
  local log=$2/$1 number=$1
  shift 2
  "$@" --first="$number" --last="$number" >"$log" 2>&1 || touch "$log.failed"
  sed -E '/^\[doctest\] (doctest version|run with|test cases|assertions|Status)/d; /^=+$/d' "$log"
}
export -f run_test
logs=$(mktemp -d)
trap 'rm -r "$logs"' EXIT
seq 1 "$count" |
  xargs -P "${JOBS:-$(nproc)}" -I{} bash -c 'run_test "$@"' - {} "$logs" "${program[@]}" "$@"
failed=$(find "$logs" -name '*.failed' | wc -l)
echo "[doctest] test cases: $count | $((count - failed)) passed | $failed failed"
((failed == 0))
