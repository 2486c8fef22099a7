//! Packs: files that go up whole or in parts, and come down whole or in ranges.

use bytes::Bytes;

use super::report::Finding;
use super::site::{LocalFiles, Site, read, write};
use super::{Checked, Refusal, unfit};
use crate::object::StoreError;
use crate::s3::{PART_BYTES, Ranged, S3Store};

/// Bytes of a file that goes up as one stream.
const SMALL: usize = 400_000;
/// Bytes of a file that goes up in parts.
#[expect(clippy::cast_possible_truncation, reason = "a part fits into any address space")]
const LARGE: usize = PART_BYTES as usize + 1_234_567;

/// Files that go up in parts: what is left of an upload that was cut off is not listed.
pub(super) const IN_PARTS: [&str; 2] = ["large", "abandoned"];

/// A file comes back as it went.
async fn round_trip(site: &Site<'_>, name: &str, length: usize) -> Result<(), Refusal> {
    let (key, files) = (site.key(name), LocalFiles::new()?);
    let (up, down, content) = (files.path("up"), files.path("down"), site.noise(length));
    write(&up, &content).await?;
    site.store.upload(&key, &up).await?;
    if !site.store.download(&key, &down, length as u64).await? {
        return unfit("it does not find a file right after its upload");
    }
    if read(&down).await? == content { Ok(()) } else { unfit("a file comes back with other bytes than were sent") }
}

/// A file of one stream, as small packs go.
pub(super) async fn small(site: &Site<'_>) -> Checked {
    round_trip(site, "file", SMALL).await?;
    Ok(Finding::ok("a file comes back as it went"))
}

/// A file of one stream; and whether the store takes checksums behind it, which `checksum=always` would send.
pub(super) async fn streamed(site: &Site<'_>, bucket: Option<(&S3Store, bool)>) -> Checked {
    let Some((bucket, always)) = bucket else { return small(site).await };
    if let Err(refusal) = small(site).await {
        return match refusal {
            Refusal::Store(StoreError::Refused { reason, .. }) if always => {
                unfit(format!("it refuses checksums in trailers ({reason}): take checksum=always out of the store URL"))
            }
            other => Err(other),
        };
    }
    if always {
        return Ok(Finding::ok("a file comes back as it went, with its checksum in a trailer (checksum=always)"));
    }
    let (key, files, content) = (site.key("trailer"), LocalFiles::new()?, site.noise(SMALL));
    write(&files.path("up"), &content).await?;
    let trailer = match bucket.upload_with_trailer(&key, &files.path("up")).await {
        Ok(()) if site.store.get(&key).await?.as_ref() == Some(&content) => "checksum=always would do too",
        Ok(()) => "with checksum=always it would not: leave it at when-required",
        Err(_) => "checksums in trailers are refused: leave checksum at when-required",
    };
    Ok(Finding::ok(format!("a file comes back as it went; {trailer}")))
}

/// A file in parts comes back as it went, and an upload that was given up leaves nothing.
pub(super) async fn large(site: &Site<'_>, bucket: Option<&S3Store>) -> Checked {
    round_trip(site, IN_PARTS[0], LARGE).await?;
    let Some(bucket) = bucket else {
        return Ok(Finding::ok(format!("a file of {} MB comes back as it went", LARGE / 1_000_000)));
    };
    let key = site.key(IN_PARTS[1]);
    if bucket.abandon_upload(&key, site.noise(1_000)).await? || site.store.get(&key).await?.is_some() {
        return unfit("an upload in parts can still be completed after it was given up (AbortMultipartUpload)");
    }
    Ok(Finding::ok(format!(
        "{} MB in two parts come back as they went; an upload that is given up is gone",
        LARGE / 1_000_000
    )))
}

/// Parts of an object are the parts that were asked for.
pub(super) async fn ranges(site: &Site<'_>, bucket: &S3Store) -> Checked {
    let (key, content, files) = (site.key("ranges"), site.noise(SMALL), LocalFiles::new()?);
    write(&files.path("up"), &content).await?;
    site.store.upload(&key, &files.path("up")).await?;
    for (what, range, start, end) in [
        ("the first", "bytes=0-999".to_owned(), 0, 1_000),
        ("middle", "bytes=200000-265535".to_owned(), 200_000, 265_536),
        ("the last", format!("bytes=-{}", 777), SMALL - 777, SMALL),
        (
            "the last, asked for with more than there are",
            format!("bytes={}-{}", SMALL - 50, SMALL + 49),
            SMALL - 50,
            SMALL,
        ),
    ] {
        expect_range(bucket.get_range(&key, &range).await?, what, &content.slice(start..end))?;
    }
    match bucket.get_range(&key, &format!("bytes={SMALL}-")).await? {
        Ranged::Unsatisfiable => {
            Ok(Finding::ok("first, middle and last bytes are the right ones; behind the end is 416"))
        }
        Ranged::Bytes(..) => unfit("a range behind the end of an object is not answered with 416"),
    }
}

fn expect_range(answer: Ranged, what: &str, wanted: &Bytes) -> Result<(), Refusal> {
    match answer {
        Ranged::Bytes(found, Some(_)) if found == wanted => Ok(()),
        Ranged::Bytes(found, Some(_)) => {
            let how =
                if found.len() == wanted.len() { "other bytes".to_owned() } else { format!("{} bytes", found.len()) };
            unfit(format!("a range of {what} {} bytes brings {how}", wanted.len()))
        }
        Ranged::Bytes(_, None) => unfit("it sends whole objects where ranges are asked for"),
        Ranged::Unsatisfiable => unfit(format!("a range of {what} {} bytes is refused with 416", wanted.len())),
    }
}
