#!/bin/bash
# Proves that the clusters are what README.md says: brings one up and uses it in every way the project does, a second one
# beside it, breaks them, takes them down, and looks for anything left behind.
#   smoke.sh [--id 0..8] [--nodes 1|2]      takes the clusters ID and ID+1, by default 1 and 2; others may run meanwhile
source "$(dirname "$0")/lib.sh"
nodes_wanted=1 first=1
while [ $# -gt 0 ]; do
  case $1 in
    --nodes) nodes_wanted=${2:-}; shift 2 ;;
    --id) first=${2:-}; shift 2 ;;
    *) die "unknown option $1" ;;
  esac
done
[[ $first =~ ^[0-8]$ && $nodes_wanted =~ ^[12]$ ]] || die "usage: smoke.sh [--id 0..8] [--nodes 1|2]"
second=$((first + 1))
work=$(mktemp -d /tmp/ckc-smoke-XXXX)
one=$work/a two=$work/b
passed=0 failed=0

check() { # NAME COMMAND...
  local name=$1 began output word=ok
  began=$(now_ms)
  shift
  if output=$("$@" 2>&1); then passed=$((passed + 1)); else failed=$((failed + 1)) word=FAILED; fi
  printf '%-6s %-70s %6d ms\n' $word "$name" $(($(now_ms) - began))
  [ $word = ok ] || printf '%s\n' "$output" | tail -8 | sed 's/^/         /'
}
refused() { # TEXT COMMAND...   fails, and for that reason
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then echo "was accepted: $output"; return 1; fi
  grep -q -- "$text" <<<"$output" || { echo "$output"; return 1; }
}
within() { # SECONDS COMMAND...
  local limit=$1 began
  began=$(now_ms)
  shift
  "$@" || return 1
  [ $(($(now_ms) - began)) -le $((limit * 1000)) ] || { echo "took $(($(now_ms) - began)) ms, more than $limit s"; return 1; }
}
in_pod() { kubectl exec -n client client -- "$@"; }

for part in inside storage faults beside leftovers; do source "$here/smoke/$part.sh"; done

say "what is built once ..."
"$here/fetch.sh" >/dev/null
"$here/build.sh" >/dev/null
for id in $first $second; do
  use_cluster "$work" "$id"
  if [ -e "/run/netns/$fabric" ]; then die "cluster $id is up: choose others by --id, or take it down"; fi
done
leftovers >"$work/before"
check "a cluster of $nodes_wanted node(s) with its S3 server comes up in 30 s" \
  within 30 "$here/up.sh" "$one" --nodes "$nodes_wanted" --id "$first"
if [ $failed = 0 ]; then
  load_cluster "$one"
  inside_checks
  storage_checks
  fault_checks
  beside_checks
fi
end_checks
rm -rf "$work"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
