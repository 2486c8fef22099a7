//! `*` and `?` as IAM has them.

use std::fmt;

/// A pattern in which `*` stands for any run of bytes, also `/`, and `?` for one character.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wildcard(String);

impl Wildcard {
    /// A pattern of this text; every text is one.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text matches. Time is bounded by the product of both lengths, memory is constant.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut from) = (0, 0);
        // Where to go on when what follows the last star does not match: one character further into its run.
        let mut retry: Option<(usize, usize)> = None;
        while from < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    retry = Some((at, from));
                }
                Some(b'?') => {
                    at += 1;
                    from += character_len(&text[from..]);
                }
                Some(byte) if *byte == text[from] => {
                    at += 1;
                    from += 1;
                }
                _ => {
                    let Some((after_star, run_end)) = retry else { return false };
                    at = after_star;
                    from = run_end + 1;
                    retry = Some((after_star, from));
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of the first character; a byte that is not UTF-8 counts as one.
fn character_len(text: &[u8]) -> usize {
    let len = match text.first() {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 1,
    };
    if text.get(..len).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()) { len } else { 1 }
}
