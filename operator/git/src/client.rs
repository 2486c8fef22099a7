//! What a client says of itself, apart from what it wants.

use model::ObjectFormat;

/// Longest session id that is kept; git's own has some 60 bytes, and one part more for each git that started another.
const SESSION_BYTES: usize = 256;

/// Longest name of a hash function that is repeated to the client.
const FORMAT_BYTES: usize = 100;

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// What it says that names objects in its copy ([gitprotocol-capabilities]).
    ///
    /// [gitprotocol-capabilities]: https://git-scm.com/docs/gitprotocol-capabilities#_object_format
    pub object_format: Option<String>,
    /// Its `session-id`, which git takes from its trace2 log ([gitprotocol-capabilities]).
    ///
    /// [gitprotocol-capabilities]: https://git-scm.com/docs/gitprotocol-capabilities#_session_idsession_id
    pub session_id: Option<String>,
}

/// The client's objects are named by another hash function than the repository's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this repository has object-format {repository}, not {client}")]
pub struct ObjectFormatError {
    /// That of the repository.
    pub repository: ObjectFormat,
    /// That of the client.
    pub client: String,
}

impl Client {
    /// Takes note of an `object-format`.
    pub(crate) fn hear_format(&mut self, value: &[u8]) {
        self.object_format = Some(printable(value, FORMAT_BYTES));
    }

    /// Whether it understands the ids of a repository. One that says nothing means SHA-1.
    ///
    /// # Errors
    /// When its own are others.
    pub fn check_format(&self, repository: ObjectFormat) -> Result<(), ObjectFormatError> {
        let client = self.object_format.clone().unwrap_or_else(|| ObjectFormat::Sha1.to_string());
        if client == repository.to_string() { Ok(()) } else { Err(ObjectFormatError { repository, client }) }
    }

    /// Takes note of a session id, as far as it can be written to a log.
    pub(crate) fn hear_session(&mut self, value: &[u8]) {
        self.session_id = Some(printable(value, SESSION_BYTES)).filter(|id| !id.is_empty());
    }
}

/// The printable ones of some bytes, up to so many.
pub(crate) fn printable(value: &[u8], most: usize) -> String {
    value.iter().filter(|byte| byte.is_ascii_graphic()).take(most).copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_itself_fits_into_a_log() {
        let mut client = Client::default();
        client.hear_session(b"20261126T140000.1Z-H1-P2/a\n\x1b[31m\xff b");
        assert_eq!(client.session_id.as_deref(), Some("20261126T140000.1Z-H1-P2/a[31mb"));
        client.hear_session(&[b'x'; 5_000]);
        assert_eq!(client.session_id.map(|id| id.len()), Some(SESSION_BYTES));
        let mut silent = Client::default();
        silent.hear_session(b" \n");
        assert_eq!(silent.session_id, None);
    }
}
