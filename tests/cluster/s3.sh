# The S3 server: SeaweedFS, in a network namespace of its own on the switch, so that it can die or be cut off like
# anything else on the network. Its data lie in the state folder. Sourced by up.sh, down.sh and component.sh.

s3_bucket=codekeep
s3_ns() { echo "$prefix-s3"; }
in_s3() { nsenter --net="/run/netns/$(s3_ns)" "$@"; }

write_s3_config() {
  mkdir -p "$state/s3/data"
  (umask 077 && cat >"$state/s3/s3.json") <<END
{"identities": [{"name": "codekeep", "credentials": [{"accessKey": "$s3_key", "secretKey": "$s3_secret"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END
}

# Each cluster has its own ports, though nothing but S3's own is seen outside of its namespace.
filer_port() { echo $((8888 + id)); }

# SeaweedFS's parts also talk by Unix sockets, which it leaves in /tmp as it does its logs: it gets a /tmp of its own, in
# a mount namespace that ends with it. Only S3 itself listens where others reach it; master, volume and filer ask nobody
# for a password.
start_s3() {
  local dir=$state/s3
  mkdir -p "$dir"/{bin,tmp}
  # shellcheck disable=SC2016  # for the inner shell
  start s3 nsenter --net="/run/netns/$(s3_ns)" unshare --mount --propagation slave \
    env GOMEMLIMIT=300MiB WEED_MASTER_VOLUME_GROWTH_COPY_1=1 bash -c '
      set -e
      mount --bind "$0" "$1/bin"
      mount --rbind "$1" /mnt
      mount --bind /mnt/tmp /tmp
      shift
      exec /mnt/bin/weed server "$@"' "$tools" "$dir" \
    -dir=/mnt/data -s3.config=/mnt/s3.json -ip=127.0.0.1 -ip.bind=127.0.0.1 -filer -s3 \
    -s3.ip.bind="$s3_ip" -s3.port=8333 -s3.port.iceberg=0 -s3.port.lance=0 \
    -master.port=$((9333 + id)) -volume.port=$((8100 + id)) -filer.port="$(filer_port)" \
    -master.peers=none -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=200
}

# Asked to stop it takes half a minute; its data are safe when it is killed.
stop_s3() { stop s3 0; }

s3_healthy() { in_s3 curl -fsS --max-time 2 "$s3_endpoint/healthz"; }
filer() { in_s3 curl -fsS --max-time 5 "$@"; }
# A folder below /buckets of the filer is a bucket.
bucket_is_there() {
  filer "http://127.0.0.1:$(filer_port)/buckets/$s3_bucket/" ||
    filer -X POST "http://127.0.0.1:$(filer_port)/buckets/$s3_bucket/"
}
# It answers before its own parts have found each other; a write by way of all of them tells. Not into the bucket.
takes_data() { filer -F file=@"$state/s3/s3.json;filename=probe" "http://127.0.0.1:$(filer_port)/probe/"; }

wait_for_s3() {
  wait_for 60 "the S3 server" s3_healthy
  wait_for 30 "the bucket" bucket_is_there
  wait_for 30 "the S3 server to take data" takes_data
}
