#!/bin/bash
# Builds the image by the project's own Dockerfile, without a registry and without compiling:
#   image.sh BINARY NAME:TAG OUT.tar
# The base image is a Debian that debootstrap makes once; nothing is built when binary and Dockerfile are those of last time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ $# = 3 ] || { echo "usage: image.sh BINARY NAME:TAG OUT.tar" >&2; exit 2; }
binary=$(realpath "$1") name=$2 out=$(realpath -m "$3")
cache=${CODEKEEP_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/codekeep-cluster}
suite=bookworm

missing=()
for package in buildah debootstrap; do
  dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' || missing+=($package)
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

hash=$(cat "$binary" "$root/Dockerfile" <(echo "$name") | sha256sum)
kept=$cache/image-${hash:0:16}.tar
exec 9>"$cache/image.lock"
flock 9
if [ ! -e "$kept" ]; then
  # shellcheck disable=SC2016  # the dollar is for apt
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 'debian/$')
  if [ ! -e "$cache/base-$suite.complete" ]; then
    rm -rf "$cache/base-$suite"
    debootstrap --variant=minbase $suite "$cache/base-$suite" "$mirror" >&2
    touch "$cache/base-$suite.complete"
  fi
  work=$(mktemp -d)
  images=(buildah --storage-driver vfs --root "$work/root" --runroot "$work/run")
  finish() {
    "${images[@]}" rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
  }
  trap finish EXIT
  base=docker.io/library/debian:$suite-slim
  container=$("${images[@]}" from scratch)
  "${images[@]}" add -q "$container" "$cache/base-$suite" / >/dev/null
  "${images[@]}" commit -q "$container" "$base" >/dev/null
  mkdir -p "$work/context/binary"
  cp "$binary" "$work/context/binary/codekeep"
  strip "$work/context/binary/codekeep"
  "${images[@]}" bud -q --pull-never --isolation chroot --build-arg BINARY_FROM=prebuilt --build-arg RUNTIME_IMAGE="$base" \
    -f "$root/Dockerfile" -t "$name" "$work/context" >&2
  "${images[@]}" push -q "$name" "docker-archive:$kept.new:$name" >&2
  mv "$kept.new" "$kept"
  find "$cache" -maxdepth 1 -name 'image-*.tar' -mtime +2 -delete
fi
cp "$kept" "$out"
