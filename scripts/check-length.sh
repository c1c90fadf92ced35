#!/usr/bin/env bash
# Checks that no source file has more lines than a reader can keep in mind.
set -euo pipefail
cd "$(dirname "$0")/.."

most_lines=400

git ls-files -z --cached --others --exclude-standard -- \
  '*.ts' '*.mts' '*.js' '*.mjs' '*.cjs' '*.cc' '*.h' '*.cu' '*.cuh' '*.cmake' '*.py' '*.sh' '*CMakeLists.txt' .ci/run |
  xargs -0 awk -v most=$most_lines '
    FNR > most && !(FILENAME in long) { long[FILENAME]; print FILENAME " has more than " most " lines" > "/dev/stderr" }
    END { for (file in long) exit 1 }'
