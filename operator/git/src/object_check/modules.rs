//! `.gitmodules`: names, addresses and paths that made clients run programs (CVE-2018-11235, CVE-2018-17456,
//! CVE-2019-19604, CVE-2020-5260 and their kin).

use gix::objs::Kind;

use super::{Problem, config, submodule_url};

/// Far above every honest one; it is parsed in memory.
const FILE_BYTES: usize = 16 << 20;

pub(super) fn check(kind: Kind, data: &[u8]) -> Result<(), Problem> {
    if kind != Kind::Blob {
        return Err(Problem::new("gitmodulesBlob", "non-blob found at .gitmodules"));
    }
    if data.len() > FILE_BYTES {
        return Err(Problem::new("gitmodulesLarge", ".gitmodules too large to parse"));
    }
    // As in git, a file that cannot be parsed is no error by itself; what comes before the fault counts.
    config::each_value(data, &mut |section, name, key, value| {
        if section != b"submodule" {
            return Ok(());
        }
        let Some(name) = name else { return Ok(()) };
        if !is_name_allowed(name) {
            return Err(Problem::new("gitmodulesName", "disallowed submodule name"));
        }
        let Some(value) = value else { return Ok(()) };
        match key {
            b"url" if !submodule_url::is_allowed(value) => {
                Err(Problem::new("gitmodulesUrl", "disallowed submodule url"))
            }
            b"path" if value.first() == Some(&b'-') => Err(Problem::new("gitmodulesPath", "disallowed submodule path")),
            b"update" if value.first() == Some(&b'!') => {
                Err(Problem::new("gitmodulesUpdate", "disallowed submodule update setting"))
            }
            _ => Ok(()),
        }
    })
}

/// The name becomes a path below `.git/modules`.
fn is_name_allowed(name: &[u8]) -> bool {
    !name.is_empty() && !name.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"..")
}
