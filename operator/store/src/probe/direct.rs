//! What a client can do with a request that was signed for it: create one object, of one content, once (ADR 0017).

use bytes::Bytes;
use model::lfs::Oid;

use super::report::Finding;
use super::site::Site;
use super::{Checked, Refusal, unfit};
use crate::digest::sha256;
use crate::s3::{S3Store, Way};

/// Bytes of the content: more than some stores hold in one piece.
const LENGTH: usize = 200_000;
const ADVICE: &str = "nothing has to be done: Git LFS uploads go through Codekeep, downloads straight from the bucket";

const OUTSIDE: &str =
    "run this where clients are; a proxy in front of the bucket has to leave the Host header as it is";

/// A client that tries everything else fails, and what it was let to do works.
pub(super) async fn uploads(site: &Site<'_>, bucket: &S3Store, name: &str) -> Checked {
    let (right, mut wrong) = (site.noise(LENGTH), site.noise(LENGTH).to_vec());
    wrong[0] = right[0] ^ 1;
    let (wrong, oid) = (Bytes::from(wrong), Oid::of(sha256(&right)));
    let (source, key) = (site.key("of-others"), site.key(name));
    site.store.put(&source, wrong.clone()).await?;
    let link = bucket.sign_put(&key, &oid, LENGTH as u64).await?;
    let source = bucket.copy_source(&source);
    let as_signed = Way { key: &key, link: &link, bare: false, more: None };
    let copied = Way { more: Some(("x-amz-copy-source", source.as_str())), ..as_signed };
    for (way, body, what) in [
        (as_signed, &wrong, "it takes bytes that do not have the SHA-256 that was signed"),
        (Way { bare: true, ..as_signed }, &wrong, "it takes a request without headers that were signed"),
        (copied, &right, "it copies any other object to where a client may create one"),
    ] {
        let answer = bucket.follow(way, body.clone()).await?;
        if answer.status < 300 || site.store.get(&key).await?.is_some() {
            return unfit(what);
        }
        if answer.status >= 500 {
            return unfit(format!("it does not clearly refuse what was not signed: {}", answer.reason));
        }
    }
    let answer = bucket.follow(as_signed, right.clone()).await?;
    if answer.status != 200 {
        return unfit(format!("it refuses what was signed: {}", answer.reason));
    }
    let again = bucket.follow(as_signed, right.clone()).await?;
    if again.status == 200 {
        return unfit("it lets a client that may create an object write it again");
    }
    // Also the copy: it would be of something else, and no checksum was sent along.
    let _answer = bucket.follow(copied, right.clone()).await?;
    if site.store.get(&key).await?.is_none_or(|found| found != right) {
        return unfit("what a client sent comes back as something else");
    }
    Ok(Finding::ok("clients that were let to send an object can send nothing else"))
}

/// The same for the report, also by the address that clients use, where they do. A bucket that is not up to it is used without.
pub(super) async fn reported(site: &Site<'_>, bucket: &S3Store, theirs: Option<&S3Store>) -> Checked {
    let checked = uploads(site, bucket, "direct").await;
    match (checked, theirs) {
        (Ok(_), Some(theirs)) => Ok(match uploads(site, theirs, "direct-outside").await {
            Err(error) => Finding::warning(format!("not by the address of lfs-direct, from here: {error}"), OUTSIDE),
            Ok(finding) => finding,
        }),
        (Err(Refusal::Unfit(found)), Some(_)) => Ok(Finding::warning(found, ADVICE)),
        (Err(Refusal::Unfit(found)), None) => {
            Ok(Finding::ok(format!("lfs-direct would be for downloads only: {found}")))
        }
        (checked, _) => checked,
    }
}
