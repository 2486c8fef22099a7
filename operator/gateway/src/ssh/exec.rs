//! The command that a client asks for, parsed strictly: one of four verbs and its words, quoted as git quotes them. No shell ever
//! sees it.

use crate::address::{Named, named};
use crate::http::lfs::Operation;

/// Longest command: the longest address with room for quotes.
const MAX_BYTES: usize = 4_096;
/// Most words of a command.
const MAX_WORDS: usize = 8;

/// The words for what a client wants, without `git-`.
const VERBS: [&str; 4] = ["upload-pack", "receive-pack", "upload-archive", "lfs-authenticate"];

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `git-upload-pack`: fetch and clone.
    UploadPack,
    /// `git-receive-pack`: push.
    ReceivePack,
    /// `git-upload-archive`: `git archive --remote`.
    UploadArchive,
    /// `git-lfs-authenticate`: a way to large files.
    LfsAuthenticate(Operation),
}

/// A parsed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) verb: Verb,
    /// What its path names; `None` when that has not even the shape of an address.
    pub(crate) named: Option<Named>,
}

/// Why a command is not run. The text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExecError {
    /// Not words.
    #[error("the command cannot be read: give one of git-upload-pack and git-receive-pack, and a path")]
    Form,
    /// Not one of the verbs.
    #[error("this server runs git-upload-pack and git-receive-pack only; use git clone, fetch or push")]
    Verb,
    /// Not one path.
    #[error("the command needs one path, such as '/NAMESPACE/REPOSITORY', and takes no options")]
    Path,
}

/// Parses a command as it was sent.
pub(crate) fn parse(command: &[u8]) -> Result<Exec, ExecError> {
    let text = std::str::from_utf8(command).map_err(|_| ExecError::Form)?;
    let mut words = words(text).ok_or(ExecError::Form)?.into_iter();
    let first = words.next().ok_or(ExecError::Form)?;
    let verb = if first == "git" { words.next() } else { first.strip_prefix("git-").map(str::to_owned) };
    let verb = verb.filter(|verb| VERBS.contains(&verb.as_str())).ok_or(ExecError::Verb)?;
    let path = words.next().filter(|path| !path.starts_with('-')).ok_or(ExecError::Path)?;
    let more: Vec<String> = words.collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let verb = match (verb.as_str(), &*more) {
        ("upload-pack", []) => Verb::UploadPack,
        ("receive-pack", []) => Verb::ReceivePack,
        ("upload-archive", []) => Verb::UploadArchive,
        // Old clients name the object as well.
        ("lfs-authenticate", ["download"] | ["download", _]) => Verb::LfsAuthenticate(Operation::Download),
        ("lfs-authenticate", ["upload"] | ["upload", _]) => Verb::LfsAuthenticate(Operation::Upload),
        _ => return Err(ExecError::Path),
    };
    Ok(Exec { verb, named: named(path.strip_prefix('/').unwrap_or(&path).trim_end_matches('/')) })
}

/// Splits a command into words: plain characters, `'…'`, `"…"` and the two characters that git escapes with `\`. `None` when there is
/// anything else in it, as all that a shell would act on is.
fn words(text: &str) -> Option<Vec<String>> {
    if text.len() > MAX_BYTES || text.contains(char::is_control) {
        return None;
    }
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            ' ' => words.extend(word.take()),
            '\'' | '"' => {
                let (inner, after) = rest.as_str().split_once(next)?;
                if next == '"' && inner.contains(['$', '`', '\\', '!']) {
                    return None;
                }
                word.get_or_insert_default().push_str(inner);
                rest = after.chars();
            }
            '\\' => word.get_or_insert_default().push(rest.next().filter(|escaped| matches!(escaped, '\'' | '!'))?),
            plain if plain.is_alphanumeric() || "-._/~@+=,:%^".contains(plain) => {
                word.get_or_insert_default().push(plain);
            }
            _ => return None,
        }
    }
    words.extend(word);
    (words.len() <= MAX_WORDS).then_some(words)
}

#[cfg(test)]
mod tests;
