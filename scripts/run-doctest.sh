#!/usr/bin/env bash
# run-doctest.sh PROGRAM [ARGUMENTS]...: runs the tests of a doctest program on all processors, each
# test in its own process. PROGRAM may begin with an emulator, as in
# 'qemu-aarch64-static build/native_tests'. The last line has the counts of all tests, in the format of
# doctest.
set -euo pipefail

read -ra program <<<"$1"
shift
count=$("${program[@]}" "$@" --count | sed -nE 's/.*current filters: ([0-9]+)$/\1/p')

# Each process counts the tests of the other processes as passed, so its line of counts is removed.
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
