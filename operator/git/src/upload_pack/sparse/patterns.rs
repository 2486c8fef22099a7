//! A list of patterns, and what it says of a path.

use gix::bstr::{BStr, ByteSlice as _};
use gix_glob::{
    Pattern,
    pattern::{Case, Mode},
    wildmatch,
};

/// Longest pattern.
const MAX_BYTES: usize = 4_096;

/// Asterisks in one pattern, and pairs of them: each multiplies the work of a path that almost matches.
const MAX_ASTERISKS: usize = 16;
const MAX_PAIRS: usize = 4;

/// How paths are matched: `*` does not match a slash.
const GLOB: wildmatch::Mode = wildmatch::Mode::NO_MATCH_SLASH_LITERAL;

/// Patterns, the strongest at the end.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads lines as git does; the error tells what is wrong with them.
    pub(super) fn parse(text: &[u8], most: usize) -> Result<Self, String> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut patterns = Vec::new();
        for line in text.split_str("\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let line = trimmed(line);
            let (asterisks, pairs) = (line.find_iter("*").count(), line.find_iter("**").count());
            if line.len() > MAX_BYTES || asterisks > MAX_ASTERISKS || pairs > MAX_PAIRS {
                return Err(format!(
                    "has a pattern of more than {MAX_BYTES} bytes, {MAX_ASTERISKS} asterisks or {MAX_PAIRS} pairs of them"
                ));
            }
            if patterns.len() == most {
                return Err(format!("has too many patterns: {} is the most of one request", super::MAX_PATTERNS));
            }
            patterns.push(pattern(line));
        }
        Ok(Self(patterns))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is said of a path; `None`: nothing.
    pub(super) fn of(&self, path: &BStr, is_folder: bool) -> Option<bool> {
        let name = path.rfind_byte(b'/').map(|slash| slash + 1);
        let matches =
            |pattern: &&Pattern| pattern.matches_repo_relative_path(path, name, Some(is_folder), Case::Sensitive, GLOB);
        self.0.iter().rev().find(matches).map(|pattern| !pattern.is_negative())
    }

    /// What is said of the root, whose path is empty: patterns without a slash match it if they match no characters at all.
    pub(super) fn of_root(&self) -> Option<bool> {
        let matches = |pattern: &&Pattern| {
            let is_name = pattern.mode.contains(Mode::NO_SUB_DIR) && !pattern.mode.contains(Mode::ABSOLUTE);
            pattern.text.is_empty() || is_name && pattern.matches(b"".into(), GLOB)
        };
        self.0.iter().rev().find(matches).map(|pattern| !pattern.is_negative())
    }
}

/// A pattern; one of blanks, or of nothing behind its `!`, is there as well and matches no more than that.
fn pattern(line: &[u8]) -> Pattern {
    Pattern::from_bytes(line).unwrap_or_else(|| {
        let (text, mode) = match line.strip_prefix(b"!") {
            Some(text) => (text, Mode::NO_SUB_DIR | Mode::NEGATIVE),
            None => (line, Mode::NO_SUB_DIR),
        };
        Pattern { text: text.into(), mode, first_wildcard_pos: None }
    })
}

/// Without the spaces at its end, unless a backslash is before one.
fn trimmed(line: &[u8]) -> &[u8] {
    let (mut end, mut at) = (0, 0);
    while let Some(byte) = line.get(at) {
        match byte {
            b' ' => {}
            // A backslash at the very end protects whatever is before it.
            b'\\' => {
                at += 1;
                end = (at + 1).min(line.len());
            }
            _ => end = at + 1,
        }
        at += 1;
    }
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(patterns: &str, path: &str, is_folder: bool) -> Option<bool> {
        Patterns::parse(patterns.as_bytes(), 100).unwrap().of(path.into(), is_folder)
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let cone = "/*\n!/*/\n/docs/\n";
        assert_eq!(said(cone, "README", false), Some(true));
        assert_eq!(said(cone, "docs", true), Some(true));
        assert_eq!(said(cone, "docs/a", false), None, "what is decided about the folder counts");
        assert_eq!(said(cone, "src", true), Some(false));
        assert_eq!(said("*.c\n!/a/**/x.c", "a/b/x.c", false), Some(false));
        assert_eq!(said("*.c\n!/a/**/x.c", "a/b/y.c", false), Some(true));
        assert_eq!(said("docs/", "docs", false), None, "only a folder");
        assert_eq!(said("!a\\ b", "x/a b", false), Some(false));
    }

    #[test]
    fn lines_are_read_as_git_reads_them() {
        assert_eq!(said("\u{feff}# a comment\r\n\r\nname  \r\n", "x/name", false), Some(true));
        assert_eq!(said("\\#name", "#name", false), Some(true));
        assert_eq!(said("\\!name", "!name", false), Some(true));
        for (line, expected) in [("a  ", "a"), ("a\\  ", "a\\ "), ("a \\", "a \\"), ("  ", ""), ("a\\\\  ", "a\\\\")] {
            assert_eq!(trimmed(line.as_bytes()).as_bstr(), expected, "{line:?}");
        }
        assert_eq!(Patterns::parse(b"a\nb\n", 2).unwrap().len(), 2);
        assert!(Patterns::parse(b"a\nb\nc", 2).is_err());
        assert!(Patterns::parse("*".repeat(17).as_bytes(), 2).is_err());
        assert!(Patterns::parse("a".repeat(5_000).as_bytes(), 2).is_err());
        assert!(Patterns::parse(b"**/a/**/a/**/a/**/a/**/a", 2).is_err());
    }

    #[test]
    fn patterns_that_almost_match_take_no_time_to_speak_of() {
        let paths = ["a/".repeat(2_000) + "c", "a".repeat(4_000), "ab/".repeat(1_300) + "a", "a/aaaa".repeat(600)];
        let begun = std::time::Instant::now();
        for pattern in [
            "**/a/**/a/**/a/**/b",
            "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
            "**/*a*b/**/*a*b/**/*a*b/**/d",
            "**/*a*a*b/**/*a*a*b/**/a*b*c",
            "a**a**a**a**b",
            "/a/**/*?*?*?*?/**/b",
        ] {
            for path in &paths {
                assert_eq!(said(pattern, path, false), None, "{pattern}");
            }
        }
        // Were each of them to try everything, the heat death would come first.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_root_is_matched_by_what_matches_nothing_at_all() {
        let root = |text: &str| Patterns::parse(text.as_bytes(), 9).unwrap().of_root();
        assert_eq!([root("*"), root("*/"), root("/"), root("   ")], [Some(true); 4]);
        assert_eq!([root("/*"), root("a"), root("a/*"), root("?")], [None; 4]);
        assert_eq!([root("*\n!*"), root("*\n!")], [Some(false); 2]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn arbitrary_patterns_never_panic(text in "[a\\\\*?!#/ \\[\\]\r\n]{0,40}", path in "a{1,3}(/a{1,2}){0,4}") {
            if let Ok(patterns) = Patterns::parse(text.as_bytes(), 100) {
                let _ = (patterns.of_root(), patterns.of(path.as_str().into(), true), patterns.of(path.as_str().into(), false));
            }
        }
    }
}
