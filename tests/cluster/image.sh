#!/bin/bash
# Builds the image by the project's own Dockerfile, without a registry and without compiling:
#   image.sh BINARY NAME:TAG OUT.tar
# OUT.tar is what `ctr images import` and `docker load` read. Needs root. The base image is a Debian that debootstrap
# makes once; nothing is built when binary and Dockerfile are those of last time.
source "$(dirname "$0")/lib.sh"
root=$(cd "$here/../.." && pwd)
[ $# = 3 ] || die "usage: image.sh BINARY NAME:TAG OUT.tar"
[ "$(id -u)" = 0 ] || die "not root: building an image mounts file systems"
# In a mount namespace of its own: whatever happens, no mount is left behind.
[ -n "${CODEKEEP_IMAGE_MOUNTS:-}" ] || CODEKEEP_IMAGE_MOUNTS=private exec unshare --mount --propagation slave "$0" "$@"
[ -f "$1" ] || die "there is no binary $1"
binary=$(realpath "$1") name=$2 out=$(realpath -m "$3")
suite=bookworm base=docker.io/library/debian:bookworm-slim
# Goes up when what is made from the base below changes.
base_folder=$cache/base-$suite-2

install_packages() {
  local package missing=() tools_needed=(buildah debootstrap binutils)
  for package in "${tools_needed[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} != 0 ] || return 0
  command -v apt-get >/dev/null || die "missing, and there is no apt-get to install them: ${missing[*]}"
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# A binary of a newer system starts nowhere in the image; better said here than by a pod in a loop.
require_old_glibc() {
  local needs
  objdump -f "$binary" >/dev/null 2>&1 || die "$binary is no program for Linux"
  needs=$(objdump -T "$binary" | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1)
  [ "$(printf '%s\nGLIBC_2.36\n' "$needs" | sort -V | tail -n 1)" = GLIBC_2.36 ] ||
    die "$binary needs $needs, the image's Debian $suite has GLIBC_2.36: compile it on $suite or older"
}

# The mirrors of this machine, as apt reads them. They are mounted into the build and appear in no layer.
write_mirrors() { # FILE
  local main security
  # shellcheck disable=SC2016  # the dollar is for apt
  main=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 'debian/$') || die "no Debian mirror is set up"
  # shellcheck disable=SC2016
  security=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 'debian-security/$' || true)
  {
    echo "deb $main $suite main"
    echo "deb $main $suite-updates main"
    [ -z "$security" ] || echo "deb $security $suite-security main"
  } >"$1"
}

# What debian:bookworm-slim is: a minimal system whose dpkg leaves out documentation.
make_base() {
  local mirror new=$base_folder.new
  mirror=$(awk 'NR == 1 {print $2}' "$work/mirrors/mirrors.list")
  rm -rf "$new"
  debootstrap --variant=minbase $suite "$new" "$mirror" >&2
  rm -rf "$new"/usr/share/{doc,man,info,locale,lintian}/* "$new"/var/lib/apt/lists/* "$new"/var/cache/apt/* "$new"/var/log/*
  printf 'path-exclude /usr/share/%s/*\n' doc man info locale lintian >"$new/etc/dpkg/dpkg.cfg.d/slim"
  : >"$new/etc/apt/sources.list"
  : >"$new/etc/resolv.conf"
  rm -f "$new/etc/hostname"
  mv "$new" "$base_folder"
}

import_base() {
  local container
  container=$("${images[@]}" from scratch)
  "${images[@]}" add -q "$container" "$base_folder" / >/dev/null
  "${images[@]}" config --cmd bash "$container"
  "${images[@]}" commit -q --rm "$container" "$base" >/dev/null
}

# Into images and layers that are kept: a new binary makes one new layer.
build() {
  mkdir -p "$work/context/binary" "$work/mirrors"
  cp "$binary" "$work/context/binary/codekeep"
  strip "$work/context/binary/codekeep"
  write_mirrors "$work/mirrors/mirrors.list"
  [ -e "$base_folder" ] || make_base
  "${images[@]}" inspect --type image "$base" >/dev/null 2>&1 || import_base
  "${images[@]}" bud -q --layers --pull-never --isolation chroot --volume "$work/mirrors:/etc/apt/sources.list.d:ro" \
    --build-arg BINARY_FROM=prebuilt --build-arg RUNTIME_IMAGE="$base" \
    --file "$root/Dockerfile" --tag "$built" "$work/context" >&2
}

# Ten binaries are more than anybody goes back to.
forget_old() {
  "${images[@]}" images --quiet --no-trunc --filter reference='localhost/codekeep-built' | tail -n +11 |
    xargs -r "${images[@]}" rmi --force >/dev/null 2>&1 || true
}

main() {
  local hash
  hash=$(cat "$binary" "$root/Dockerfile" <(echo "$base_folder") | sha256sum)
  built=localhost/codekeep-built:${hash:0:16}
  if [ -e "$out" ] && [ "$(cat "$out.made-of" 2>/dev/null)" = "$built $name" ]; then return; fi
  mkdir -p "$cache/images" "$(dirname "$out")"
  exec 9>"$cache/images/lock"
  flock 9
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  images=(buildah --storage-driver overlay --root "$cache/images/overlay" --runroot "$work/run")
  "${images[@]}" info >/dev/null 2>&1 || images=(buildah --storage-driver vfs --root "$cache/images/vfs" --runroot "$work/run")
  require_old_glibc
  if ! "${images[@]}" inspect --type image "$built" >/dev/null 2>&1; then
    build
    forget_old
  fi
  rm -f "$out" "$out.made-of"
  # By its id, or the archive would also hold the name under which it is kept here.
  "${images[@]}" push -q "$("${images[@]}" images --quiet --no-trunc "$built" | head -n 1)" "docker-archive:$out:$name" >&2
  echo "$built $name" >"$out.made-of"
}
install_packages
mkdir -p "$cache"
with_progress "building the image" "$cache/image.log" main
