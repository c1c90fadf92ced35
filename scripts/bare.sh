#!/usr/bin/env bash
# bare.sh [--no-nvcc] COMMAND...: runs a command as on a fresh machine, which has Node.js, CMake, make,
# a C++ compiler and nvcc, but no other build tools. With --no-nvcc there is no nvcc either. Hides other
# tools of this machine: the command runs in its own mount namespace, where an overlay over /usr lacks
# their files. Needs Debian's dpkg, and overlay file systems as root or in a user namespace.
# Fails with a message where these are missing.
set -euo pipefail

# Files of build tools, except for those that g++ itself needs.
hidden_files() {
  local tools='ccache|clang|doctest|g\+\+-mingw|gcc-mingw|lld|mold|ninja-build|pkg-config|pkgconf|qemu-user|wine'
  local of_compiler='(libc6|linux-libc|libcrypt|libnsl|libtirpc|libgcc-[0-9]+|libstdc\+\+-[0-9]+)-dev'
  dpkg-query --show --showformat '${db:Status-Status} ${binary:Package}\n' |
    sed -n 's/^installed //p' |
    grep -E -- "^($tools)|-(dev|cross)(:[a-z0-9]+)?\$" |
    grep -vE "^$of_compiler(:[a-z0-9]+)?\$" |
    xargs --no-run-if-empty dpkg-query --listfiles |
    grep -vE '^/usr/share/|^$'
  # Files that were installed without a package, except for the headers of Node.js.
  find /usr/local/include /usr/local/lib/{cmake,pkgconfig} ! -type d ! -path '/usr/local/include/node/*' 2>/dev/null
  type -ap ninja ccache clang-format
}

# Every nvcc that CMake looks for (cmake/kernels.cmake).
nvccs() {
  type -ap nvcc
  ls -d {"${CUDA_PATH:-/usr/local/cuda}",/usr/local/cuda*}/bin/nvcc "${CUDACXX:-}" 2>/dev/null
}

# Removes the files that stdin names from the overlay. Programs outside of /usr stay, but can no longer
# be run.
hide() {
  local file folder found=()
  local -A folders
  while IFS= read -r file; do
    if [[ ! -L $file ]] && { [[ -d $file ]] || [[ ! -e $file ]]; }; then continue; fi
    folder=${file%/*}
    [[ -n ${folders[$folder]:-} ]] || folders[$folder]=$(readlink -f "$folder")
    if [[ ${folders[$folder]}/ == /usr/* ]]; then
      found+=("$file")
    elif [[ -x $file ]]; then
      mount --bind /dev/null "$file"
    fi
  done
  printf '%s\0' "${found[@]}" | xargs -0 rm -f --
}

if [[ ${1:-} != --inside ]]; then
  command -v dpkg-query >/dev/null || { echo 'bare.sh: this system is not Debian: dpkg-query is missing' >&2 && exit 1; }
  namespaces=(--mount)
  ((EUID == 0)) || namespaces+=(--user --map-root-user)
  layer=$(mktemp -d)
  trap 'rmdir "$layer"' EXIT
  unshare "${namespaces[@]}" "$0" --inside "$layer" "$@"
  exit
fi
layer=$2
shift 2

mount -t tmpfs none "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/usr"
mount --rbind /usr "$layer/usr"
mapfile -t mounts < <(awk '$5 ~ "^/usr/" { print $5 }' /proc/self/mountinfo)
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$layer/upper,workdir=$layer/work" /usr || {
  echo 'bare.sh: cannot mount an overlay file system over /usr' >&2
  exit 1
}

# The overlay lacks the mounts below /usr, such as a GPU driver in a container: mount them again.
for each in "${mounts[@]}"; do mount --bind "$layer$each" "$each"; done

hide < <(hidden_files)

# Settings that a fresh machine does not have.
unset CC CXX CFLAGS CXXFLAGS LDFLAGS CPATH CPLUS_INCLUDE_PATH LIBRARY_PATH PKG_CONFIG_PATH CMAKE_PREFIX_PATH \
  CMAKE_GENERATOR CMAKE_CXX_COMPILER_LAUNCHER

if [[ ${1:-} == --no-nvcc ]]; then
  shift
  hide < <(nvccs)
  unset CUDACXX CUDA_PATH
  hash -r
  if [[ -x $(type -P nvcc) ]]; then
    echo "bare.sh: cannot hide $(type -P nvcc)" >&2
    exit 1
  fi
fi
exec "$@"
