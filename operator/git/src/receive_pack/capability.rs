//! What a client asks for on the first line of a push.

use crate::client::{Client, printable};

/// The capabilities of one push. Unknown ones are ignored, as the protocol wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the protocol, sent or not")]
pub struct Capabilities {
    /// A report is wanted.
    pub report_status: bool,
    /// The report may have option lines. There are none to tell as long as names are not rewritten.
    pub report_status_v2: bool,
    /// All references change, or none.
    pub atomic: bool,
    /// Answers come in channels.
    pub sideband: bool,
    /// No progress.
    pub quiet: bool,
    /// Options follow the commands.
    pub push_options: bool,
    /// The name of the client's program.
    pub agent: Option<String>,
    /// What else it says of itself.
    pub client: Client,
}

impl Capabilities {
    /// Parses what follows the NUL of the first line.
    pub(super) fn parse(words: &[u8]) -> Self {
        let mut found = Self::default();
        for word in words.split(|byte| *byte == b' ') {
            match word {
                b"report-status" => found.report_status = true,
                b"report-status-v2" => {
                    found.report_status = true;
                    found.report_status_v2 = true;
                }
                b"atomic" => found.atomic = true,
                b"side-band-64k" => found.sideband = true,
                b"quiet" => found.quiet = true,
                b"push-options" => found.push_options = true,
                _ => found.valued(word),
            }
        }
        found
    }

    fn valued(&mut self, word: &[u8]) {
        if let Some(agent) = word.strip_prefix(b"agent=") {
            // It goes to logs.
            self.agent = Some(printable(agent, 200));
        } else if let Some(id) = word.strip_prefix(b"session-id=") {
            self.client.hear_session(id);
        } else if let Some(format) = word.strip_prefix(b"object-format=") {
            self.client.hear_format(format);
        }
    }
}
