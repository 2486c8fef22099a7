//! Who else can read: strangers by the network, finders of a disk.

use bytes::Bytes;

use super::creation::settled;
use super::report::Finding;
use super::site::Site;
use super::{Checked, unfit};
use crate::s3::{Contact, Description, S3Store, Signed};

/// What the bucket does to new objects by itself.
pub(super) async fn encryption(site: &Site<'_>, bucket: &S3Store) -> Checked {
    let key = site.key("described");
    if !settled(site.store, &key, &Bytes::from_static(b"described")).await? {
        return unfit("it refuses to create an object that does not exist");
    }
    let Description { encryption, key_id, version } = bucket.describe(&key).await?;
    let versions = if version.is_some() {
        "; versioning is on: deleted objects go on costing until a lifecycle rule expires their versions"
    } else {
        ""
    };
    Ok(match (encryption, key_id) {
        (Some(algorithm), Some(key)) => Finding::ok(format!("objects are encrypted: {algorithm}, key {key}{versions}")),
        (Some(algorithm), None) => Finding::ok(format!("objects are encrypted: {algorithm}{versions}")),
        (None, _) => Finding::warning(
            format!("the bucket does not say that it encrypts{versions}"),
            "set a default encryption of the bucket (SSE-S3 or SSE-KMS), or be sure that the store's disks are encrypted",
        ),
    })
}

/// A request that nobody signed is refused.
pub(super) async fn anonymous(site: &Site<'_>, bucket: &S3Store) -> Checked {
    let answer = asked_as(site, bucket, Signed::Nobodys).await?;
    Ok(judged(
        &answer,
        "without credentials",
        "THE BUCKET IS OPEN: everybody who reaches it reads everything in it, without credentials",
        "close it now: block public access, take \"everybody\" out of its policy and ACLs; and if code is in it, take it as read",
    ))
}

/// A request whose signature does not fit is refused.
pub(super) async fn forged(site: &Site<'_>, bucket: &S3Store) -> Checked {
    let answer = asked_as(site, bucket, Signed::Forged).await?;
    Ok(judged(
        &answer,
        "with a wrong secret",
        "THE BUCKET IS OPEN: the store does not verify signatures, everybody who knows a key's name reads everything",
        "switch authentication on; if this is a stand-in for tests, keep nothing in it",
    ))
}

async fn asked_as(site: &Site<'_>, bucket: &S3Store, signed: Signed) -> Result<Contact, super::Refusal> {
    let key = site.key(if signed == Signed::Nobodys { "secret-of-nobody" } else { "secret-of-us" });
    if !settled(site.store, &key, &Bytes::from_static(b"secret")).await? {
        return unfit("it refuses to create an object that does not exist");
    }
    Ok(bucket.contact(&key, signed).await?)
}

fn judged(answer: &Contact, how: &str, open: &str, advice: &'static str) -> Finding {
    match answer.status {
        401 | 403 => Finding::ok(format!("reading {how} is refused ({})", answer.status)),
        200..300 => Finding::warning(open, advice),
        other => Finding::ok(format!("reading {how} fails, if with {other} and not with 403")),
    }
}
