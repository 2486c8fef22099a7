//! The first words with a bucket: does it answer, and what time does it have?

use jiff::{SignedDuration, Timestamp};

use super::report::Finding;
use super::{Checked, Refusal, unfit};
use crate::s3::Contact;

/// From here on the difference is worth a word.
const SKEW_SEEN: SignedDuration = SignedDuration::from_mins(5);
/// S3 refuses what is signed at another time than this.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// It answers: with 404 for a key that is missing, or with 403 when that may not be told.
pub(super) fn reached(contact: &Contact, place: &str) -> Checked {
    let answers = match contact.status {
        200 => true,
        404 => contact.code != "NoSuchBucket",
        403 => matches!(contact.code.as_str(), "AccessDenied" | ""),
        _ => false,
    };
    if !answers {
        return Err(Refusal::Unreached(contact.reason.clone()));
    }
    Ok(Finding::ok(format!("it answers at {place}")))
}

/// The store's clock and ours.
pub(super) fn clocks(contact: &Contact, now: Timestamp) -> Checked {
    let Some(theirs) = contact.date.as_deref().and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
        return Ok(Finding::ok("the store does not tell its time"));
    };
    let skew = now.duration_since(theirs.timestamp()).abs();
    let seconds = skew.as_secs();
    if skew > SKEW_MAX {
        return unfit(format!("its clock and this machine's differ by {} minutes", seconds / 60));
    }
    if skew > SKEW_SEEN {
        return Ok(Finding::warning(
            format!("its clock and this machine's differ by {} minutes", seconds / 60),
            "synchronise both by NTP: at 15 minutes S3 refuses every request",
        ));
    }
    Ok(Finding::ok(format!("its clock and this machine's differ by {seconds} s")))
}
