//! Addresses of submodules that clients must not be led to (git's `check_submodule_url`).

pub(super) fn is_allowed(url: &[u8]) -> bool {
    // git reads C strings: what follows a NUL is not seen by it.
    let url = url.split(|byte| *byte == 0).next().unwrap_or_default();
    if url.first() == Some(&b'-') {
        return false;
    }
    if url.starts_with(b"./") || url.starts_with(b"../") || url.starts_with(b"git://") {
        return !decodes_to_newline(url) && !escapes_its_root(url);
    }
    match for_curl(url) {
        Some(address) => is_address(address) && !decodes_to_newline(address),
        None => true,
    }
}

/// Relative addresses may not replace the host by `../:…` or `..//…`.
fn escapes_its_root(url: &[u8]) -> bool {
    let (mut rest, mut ups) = (url, 0);
    loop {
        if let Some(after) = rest.strip_prefix(b"../") {
            rest = after;
            ups += 1;
        } else if let Some(after) = rest.strip_prefix(b"./") {
            rest = after;
        } else {
            return ups > 0 && matches!(rest.first(), Some(b':' | b'/'));
        }
    }
}

/// The address that would be handed to git-remote-curl.
fn for_curl(url: &[u8]) -> Option<&[u8]> {
    let helpers: [&[u8]; 4] = [b"http::", b"https::", b"ftp::", b"ftps::"];
    if let Some(rest) = helpers.iter().find_map(|helper| url.strip_prefix(*helper)) {
        return Some(rest);
    }
    let schemes: [&[u8]; 4] = [b"http://", b"https://", b"ftp://", b"ftps://"];
    schemes.iter().any(|scheme| url.starts_with(scheme)).then_some(url)
}

/// Whether it has a scheme and a host.
fn is_address(url: &[u8]) -> bool {
    let Some(at) = url.windows(3).position(|three| three == b"://") else { return false };
    let (scheme, rest) = (&url[..at], &url[at + 3..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next().unwrap_or_default();
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    is_scheme && !host.is_empty()
}

fn decodes_to_newline(text: &[u8]) -> bool {
    text.contains(&b'\n') || text.windows(3).any(|three| three.eq_ignore_ascii_case(b"%0a"))
}
