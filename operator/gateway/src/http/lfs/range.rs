//! The one range of bytes that a request may ask for (RFC 9110, 14).

use std::ops::Range;

/// What a `Range` header asks of an object of `size` bytes: all of it, a part, or one that it does not have. What is not understood
/// is ignored, as the RFC wants it: then the client gets all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

pub(super) fn parse(header: Option<&str>, size: u64) -> Asked {
    let Some((first, last)) = header.and_then(|text| text.trim().strip_prefix("bytes=")?.split_once('-')) else {
        return Asked::Whole;
    };
    let number =
        |text: &str| if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None => Asked::Whole,
            Some(0) => Asked::Unsatisfiable,
            Some(_) if size == 0 => Asked::Unsatisfiable,
            Some(count) => Asked::Part(size.saturating_sub(count)..size),
        },
        (first, last) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if first <= last && first < size => {
                    Asked::Part(first..last.saturating_add(1).min(size))
                }
                (Some(first), Some(last)) if first <= last => Asked::Unsatisfiable,
                _ => Asked::Whole,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (header, asked) in [
            ("bytes=0-4", Asked::Part(0..5)),
            ("bytes=5-", Asked::Part(5..10)),
            ("bytes=5-99", Asked::Part(5..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=4-3", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("lines=0-1", Asked::Whole),
        ] {
            assert_eq!(parse(Some(header), 10), asked, "{header}");
        }
        assert_eq!(parse(Some("bytes=0-"), 0), Asked::Unsatisfiable);
        assert_eq!(parse(None, 10), Asked::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(header in "(bytes=)?[-0-9,+ ]{0,24}", size in any::<u64>()) {
            if let Asked::Part(range) = parse(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
