#!/usr/bin/env bash
# check-symbols.sh BUILD_DIR: checks that the object file of every CPU variant below BUILD_DIR defines
# one external symbol, the variant. Any other symbol, such as an inline function of a library, would be
# compiled for an instruction set that not every processor has, and the linker could choose it for all
# callers.
set -euo pipefail

failed=0
checked=0
while IFS= read -r object; do
  name=$(basename "$object" .cc.o)
  name=${name#variant_}
  expected="rmsnorm::cpu::k${name^}"
  found=$(nm -C --defined-only --extern-only --format=posix "$object" | sed -E 's/ [A-Za-z] [0-9a-f ]*$//')
  checked=$((checked + 1))
  if [[ $found != "$expected" ]]; then
    printf '%s must define only %s. It defines:\n%s\n' "$object" "$expected" "$found" >&2
    failed=1
  fi
done < <(find "$1" -name 'variant_*.cc.o')

if ((checked == 0)); then
  echo "No variant_*.cc.o below $1" >&2
  exit 1
fi
((failed == 0)) && echo "$checked object files define only their own variant"
exit "$failed"
