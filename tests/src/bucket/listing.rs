//! `ListObjectsV2`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::Arc;

use super::exchange::{Answer, Asked};

/// Keys below a prefix, in byte order, after `start-after` or the page before.
pub(super) fn answer(objects: &BTreeMap<String, Arc<[u8]>>, asked: &Asked) -> Answer {
    let prefix = asked.query("prefix").unwrap_or_default();
    let after = asked.query("continuation-token").or_else(|| asked.query("start-after"));
    let limit = asked.query("max-keys").and_then(|text| text.parse().ok()).unwrap_or(1_000_usize).min(1_000);
    let from = match after.filter(|after| *after >= prefix) {
        Some(after) => Bound::Excluded(after),
        None => Bound::Included(prefix.clone()),
    };
    let mut below = objects.range((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(&prefix)).peekable();
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>".to_owned();
    let mut last = None;
    for (key, body) in below.by_ref().take(limit) {
        // Writing to a string cannot fail.
        let _ = write!(text, "<Contents><Key>{}</Key><Size>{}</Size></Contents>", escape(key), body.len());
        last = Some(key);
    }
    let truncated = below.peek().is_some();
    let _ = write!(text, "<IsTruncated>{truncated}</IsTruncated>");
    if let Some(last) = last.filter(|_| truncated) {
        let _ = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", escape(last));
    }
    text.push_str("</ListBucketResult>");
    Answer::xml(200, text)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
