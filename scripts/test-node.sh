#!/usr/bin/env bash
# test-node.sh VERSION...: runs the tests that depend on the version of Node.js with each of these
# versions, such as 24, from npm. All versions use the addon that is already built.
set -euo pipefail
cd "$(dirname "$0")/.."

tests='process-effects|results|reload|javascript-in-between|async|workers|convert|tensors|native-garbage|host-buffer|load-failure'

package=node-$(node -p "process.platform + '-' + process.arch")
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for version in "$@"; do
  npm install --silent --no-audit --no-fund --prefix "$folder/$version" "$package@$version"
  node=$folder/$version/node_modules/$package/bin/node
  echo "== Node.js $("$node" --version)"
  "$node" node_modules/jest/bin/jest.js "test/[a-z]+/($tests)[a-z-]*[.]test"
done
