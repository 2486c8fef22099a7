//! `Name <email> seconds zone`, as authors, committers and taggers are written.

use super::Problem;

pub(super) fn check(line: &[u8]) -> Result<(), Problem> {
    let problem = |id, text| Err(Problem::new(id, text));
    if line.first() == Some(&b'<') {
        return problem("missingNameBeforeEmail", "invalid author/committer line - missing space before email");
    }
    let Some(open) = line.iter().position(|byte| matches!(byte, b'<' | b'>')) else {
        return problem("missingEmail", "invalid author/committer line - missing email");
    };
    if line[open] == b'>' {
        return problem("badName", "invalid author/committer line - bad name");
    }
    if line[open - 1] != b' ' {
        return problem("missingSpaceBeforeEmail", "invalid author/committer line - missing space before email");
    }
    let email = &line[open + 1..];
    let Some(close) = email.iter().position(|byte| matches!(byte, b'<' | b'>')).filter(|at| email[*at] == b'>') else {
        return problem("badEmail", "invalid author/committer line - bad email");
    };
    let Some(date) = email[close + 1..].strip_prefix(b" ") else {
        return problem("missingSpaceBeforeDate", "invalid author/committer line - missing space before date");
    };
    let zone = check_date(date)?;
    match zone {
        [b'+' | b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => problem("badTimezone", "invalid author/committer line - bad time zone"),
    }
}

/// Checks the seconds and answers with what follows them and a space.
fn check_date(date: &[u8]) -> Result<&[u8], Problem> {
    let bad = Problem::new("badDate", "invalid author/committer line - bad date");
    let start = date.iter().position(|byte| !matches!(byte, b' ' | b'\t')).ok_or(bad)?;
    let date = &date[start..];
    let len = date.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return Err(bad);
    }
    let (digits, rest) = date.split_at(len);
    if digits[0] == b'0' && date.get(1) != Some(&b' ') {
        return Err(Problem::new("zeroPaddedDate", "invalid author/committer line - zero-padded date"));
    }
    let seconds = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
    if seconds.is_none() {
        let text = "invalid author/committer line - date causes integer overflow";
        return Err(Problem::new("badDateOverflow", text));
    }
    rest.strip_prefix(b" ").ok_or(bad)
}
