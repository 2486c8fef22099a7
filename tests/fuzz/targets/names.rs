//! Names from outside: those that are taken come back as they were, and hold nothing that a path, a key or a terminal reacts to.
#![cfg_attr(feature = "libfuzzer", no_main)]

use model::{RefName, RepositoryPath};
use store::StoreUrl;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(name) = RefName::try_from(bytes) {
        assert_eq!(name.as_bstr(), bytes);
        assert!(
            bytes.starts_with(b"refs/") && !bytes.iter().any(|byte| *byte < b' ' || b" ~^:?*[\\\x7f".contains(byte))
        );
        assert!(!bytes.windows(2).any(|pair| pair == b".." || pair == b"//" || pair == b"@{" || pair == b"/."));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(path) = text.parse::<RepositoryPath>() {
        assert_eq!(path.to_string(), text);
        assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0')));
    }
    let _ = text.parse::<StoreUrl>();
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
