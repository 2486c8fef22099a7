# The S3 server: it keeps data, asks who comes, and pods reach it. Sourced by smoke.sh.

s3() { curl -fsS --max-time 10 --aws-sigv4 aws:amz:us-east-1:s3 --user "$s3_key:$s3_secret" "$@"; }
object=probe/one
keeps_an_object() {
  head -c 3000000 /dev/urandom >"$work/object"
  s3 -T "$work/object" "$s3_endpoint/$s3_bucket/$object" && gives_it_back
}
gives_it_back() { s3 "$s3_endpoint/$s3_bucket/$object" | cmp - "$work/object"; }
# Waits for nothing: the test of conditional writes is what the product's only lock stands on.
condition_holds() {
  refused 412 s3 -T "$work/object" -H 'If-None-Match: *' "$s3_endpoint/$s3_bucket/$object"
}
pod_reaches_it() { in_pod timeout 5 wget -q -O /dev/null "$s3_endpoint/healthz"; }
only_s3_listens() { ! curl -fsS --max-time 2 "http://$s3_ip:$((8888 + id))/"; }
outage_keeps_data() {
  "$here/component.sh" "$state" stop s3 || return 1
  refused . s3 --connect-timeout 2 "$s3_endpoint/$s3_bucket/$object" || return 1
  "$here/component.sh" "$state" start s3 && gives_it_back && pod_reaches_it
}
cut_and_healed() {
  "$here/component.sh" "$state" cut s3 || return 1
  refused . s3 --connect-timeout 2 "$s3_endpoint/$s3_bucket/$object" || return 1
  "$here/component.sh" "$state" heal s3 && wait_for 10 "the S3 server" gives_it_back
}

storage_checks() {
  check "S3 keeps an object" keeps_an_object
  check "S3 refuses a stranger" refused 403 curl -fsS "$s3_endpoint/$s3_bucket/$object"
  check "S3 refuses to overwrite where that is the condition" condition_holds
  check "a pod reaches S3" pod_reaches_it
  check "nothing else of it can be reached" only_s3_listens
  check "stopped, S3 is gone; started, it has the data" outage_keeps_data
  check "cut off, S3 is gone; healed, it is back" cut_and_healed
}
