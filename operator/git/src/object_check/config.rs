//! Reads a file in git's configuration syntax as git does, up to the first fault.

use super::Problem;

/// Gets section (lower case), name of the subsection, key (lower case) and value.
pub(super) type Sink<'a> = dyn FnMut(&[u8], Option<&[u8]>, &[u8], Option<&[u8]>) -> Result<(), Problem> + 'a;

/// Calls `sink` for every value before the first fault of syntax, if there is one.
pub(super) fn each_value(data: &[u8], sink: &mut Sink<'_>) -> Result<(), Problem> {
    let mut reader = Reader { rest: data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data) };
    let (mut section, mut name) = (Vec::new(), None);
    loop {
        let Some(byte) = reader.next() else { return Ok(()) };
        match byte {
            b'#' | b';' => reader.skip_line(),
            b'[' => match reader.section() {
                Some(found) => (section, name) = found,
                None => return Ok(()),
            },
            byte if byte.is_ascii_whitespace() => {}
            byte if byte.is_ascii_alphabetic() => {
                let Some((key, value)) = reader.variable(byte) else { return Ok(()) };
                sink(&section, name.as_deref(), &key, value.as_deref())?;
            }
            _ => return Ok(()),
        }
    }
}

/// Section and subsection.
type Section = (Vec<u8>, Option<Vec<u8>>);

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        match self.rest {
            [b'\r', b'\n', ..] => Some(b'\n'),
            [byte, ..] => Some(*byte),
            [] => None,
        }
    }

    /// The next byte, with `\r\n` as one.
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.rest = &self.rest[if self.rest.starts_with(b"\r\n") { 2 } else { 1 }..];
        Some(byte)
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    /// After `[`.
    fn section(&mut self) -> Option<Section> {
        let mut section = Vec::new();
        loop {
            match self.next()? {
                b']' => return Some(old_style(section)),
                byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') => {
                    section.push(byte.to_ascii_lowercase());
                }
                b' ' | b'\t' => break,
                _ => return None,
            }
        }
        while matches!(self.peek()?, b' ' | b'\t') {
            self.next();
        }
        if self.next()? != b'"' {
            return None;
        }
        let name = self.subsection()?;
        (self.next()? == b']').then_some((section, Some(name)))
    }

    fn subsection(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            match self.next()? {
                b'\n' => return None,
                b'"' => return Some(name),
                b'\\' => match self.next()? {
                    b'\n' => return None,
                    byte => name.push(byte),
                },
                byte => name.push(byte),
            }
        }
    }

    /// A key that begins with `first`, and its value if it has one.
    fn variable(&mut self, first: u8) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mut key = vec![first.to_ascii_lowercase()];
        while let Some(byte) = self.peek().filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            key.push(byte.to_ascii_lowercase());
            self.next();
        }
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.next();
        }
        match self.peek() {
            None | Some(b'\n') => {
                self.next();
                Some((key, None))
            }
            Some(b'=') => {
                self.next();
                let value = self.value()?;
                Some((key, Some(value)))
            }
            Some(_) => None,
        }
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        // Blanks count only when something follows them.
        let mut end = 0;
        let mut quoted = false;
        loop {
            match self.next() {
                None | Some(b'\n') => break,
                Some(b' ' | b'\t') if !quoted && value.is_empty() => {}
                Some(byte @ (b' ' | b'\t')) if !quoted => value.push(byte),
                Some(b'#' | b';') if !quoted => {
                    self.skip_line();
                    break;
                }
                Some(b'"') => {
                    quoted = !quoted;
                    end = value.len();
                }
                Some(b'\\') => {
                    match self.next() {
                        Some(b'\n') => continue,
                        Some(byte @ (b'\\' | b'"')) => value.push(byte),
                        Some(b'n') => value.push(b'\n'),
                        Some(b't') => value.push(b'\t'),
                        Some(b'b') => value.push(8),
                        _ => return None,
                    }
                    end = value.len();
                }
                Some(byte) => {
                    value.push(byte);
                    end = value.len();
                }
            }
        }
        value.truncate(end);
        (!quoted).then_some(value)
    }
}

/// `[section.subsection]`.
fn old_style(section: Vec<u8>) -> Section {
    match section.iter().position(|byte| *byte == b'.') {
        Some(dot) => (section[..dot].to_vec(), Some(section[dot + 1..].to_vec())),
        None => (section, None),
    }
}
