//! Names that some file system takes for `.git` and its kin: HFS+ ignores code points, NTFS has short names,
//! streams and trailing dots.

/// Whether a component may become `.git` on HFS+ or NTFS.
pub(super) fn is_dot_git(name: &[u8]) -> bool {
    is_hfs(name, "git") || tails(name).any(is_ntfs_dot_git)
}

/// Whether a component may become `.gitmodules`.
pub(super) fn is_dot_gitmodules(name: &[u8]) -> bool {
    is_hfs(name, "gitmodules") || tails(name).any(|tail| is_ntfs(tail, b"gitmodules", b"gi7eba"))
}

/// Whether a component may become `.gitattributes`. As in git, not looked for behind backslashes.
pub(super) fn is_dot_gitattributes(name: &[u8]) -> bool {
    is_hfs(name, "gitattributes") || is_ntfs(name, b"gitattributes", b"gi7d29")
}

/// The name and what follows each backslash in it, which Windows takes for a separator.
fn tails(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let after = name.iter().enumerate().filter(|(_, byte)| **byte == b'\\').map(|(at, _)| &name[at + 1..]);
    std::iter::once(name).chain(after)
}

fn is_hfs(name: &[u8], wanted: &str) -> bool {
    // As in git, what is not UTF-8 ends the name.
    let Some(valid) = name.utf8_chunks().next() else { return false };
    let mut rest = valid.valid().chars().filter(|char| !is_ignored_by_hfs(*char));
    rest.next() == Some('.') && rest.map(|char| char.to_ascii_lowercase()).eq(wanted.chars())
}

fn is_ignored_by_hfs(char: char) -> bool {
    matches!(char, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

fn is_ntfs_dot_git(name: &[u8]) -> bool {
    let rest = strip_ignoring_case(name, b".git").or_else(|| strip_ignoring_case(name, b"git~1"));
    rest.is_some_and(|rest| {
        let end = rest.iter().find(|byte| !matches!(byte, b'.' | b' '));
        end.is_none_or(|byte| matches!(byte, b'\\' | b'/' | b':'))
    })
}

fn is_ntfs(name: &[u8], wanted: &[u8], short: &[u8]) -> bool {
    if let Some(rest) = name.strip_prefix(b".").and_then(|rest| strip_ignoring_case(rest, wanted)) {
        return only_spaces_and_dots(rest);
    }
    if let Some([b'~', b'1'..=b'4', rest @ ..]) = strip_ignoring_case(name, &wanted[..6])
        && only_spaces_and_dots(rest)
    {
        return true;
    }
    is_fallback_short_name(name, short)
}

/// `gi7eba~1`, `gi7eb~12`, …: the start of a hash of the name, a tilde and a number, eight bytes in all.
fn is_fallback_short_name(name: &[u8], short: &[u8]) -> bool {
    let Some((eight, rest)) = name.split_at_checked(8) else { return false };
    let Some(tilde) = eight.iter().position(|byte| *byte == b'~') else { return false };
    let (prefix, number) = (&eight[..tilde], &eight[tilde + 1..]);
    tilde <= short.len()
        && prefix.eq_ignore_ascii_case(&short[..tilde])
        && matches!(number.first(), Some(b'1'..=b'9'))
        && number.iter().all(u8::is_ascii_digit)
        && only_spaces_and_dots(rest)
}

fn only_spaces_and_dots(rest: &[u8]) -> bool {
    rest.iter().find(|byte| !matches!(byte, b'.' | b' ')).is_none_or(|byte| *byte == b':')
}

fn strip_ignoring_case<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
