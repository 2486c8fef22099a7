//! What a server says first: references and capabilities (v0, v1), or capabilities only (v2).

use model::{ObjectFormat, ObjectId, Reference};

use crate::{pktline, view::ReferencesView};

/// How the server names itself.
pub const AGENT: &str = concat!("codekeep/", env!("CARGO_PKG_VERSION"));

/// The two services of Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Fetch and clone.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// Its name, as in `?service=` and in paths.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// The service of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::UploadPack, Self::ReceivePack].into_iter().find(|service| service.name() == name)
    }
}

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The original.
    V0,
    /// The original with a line that says so.
    V1,
    /// With commands.
    V2,
}

impl Version {
    /// The version that a client asks for in `Git-Protocol`: the highest that it names and we know.
    #[must_use]
    pub fn from_header(value: Option<&str>) -> Self {
        let keys = value.unwrap_or("").split(':');
        keys.fold(Self::V0, |best, key| match (key.trim(), best) {
            ("version=2", _) => Self::V2,
            ("version=1", Self::V0) => Self::V1,
            _ => best,
        })
    }
}

/// The body of `info/refs` for a service, in version 0 or 1. Pushing has no version 2; asked for it, the answer is version 0, as
/// git does.
#[must_use]
pub fn advertise(service: Service, version: Version, refs: &ReferencesView<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    pktline::push(&mut out, &[b"# service=", service.name().as_bytes(), b"\n"]);
    out.extend_from_slice(pktline::FLUSH);
    greet(service, version, refs, &mut out);
    out
}

/// What a server says first on a stream of its own, such as SSH, in version 0 or 1: the same without the name of the service.
#[must_use]
pub fn greeting(service: Service, version: Version, refs: &ReferencesView<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    greet(service, version, refs, &mut out);
    out
}

fn greet(service: Service, version: Version, refs: &ReferencesView<'_>, out: &mut Vec<u8>) {
    if version == Version::V1 {
        pktline::push(out, &[b"version 1\n"]);
    }
    references(service, refs, out);
}

/// Adds capabilities that are another's each time to what [`advertise`] or [`greeting`] gave. That may be long and kept for others,
/// so it is not copied: what comes out takes the place of its beginning, up to the offset beside it.
#[must_use]
pub fn announce(list: &[u8], capabilities: &str) -> (Vec<u8>, usize) {
    let mut at = 0;
    while let Some((length, rest)) = list[at..].split_first_chunk() {
        let length = pktline::decode_length(*length).map_or(0, |length| length.max(4));
        let Some(payload) = rest.get(..length.saturating_sub(4)) else { break };
        if payload.contains(&0) {
            let mut head = list[..at].to_vec();
            pktline::push(&mut head, &[pktline::text(payload), b" ", capabilities.as_bytes(), b"\n"]);
            return (head, at + length);
        }
        at += length.max(4);
    }
    (Vec::new(), 0)
}

/// The capability by which a client finds a request of ours in our log ([gitprotocol-capabilities]).
///
/// [gitprotocol-capabilities]: https://git-scm.com/docs/gitprotocol-capabilities#_session_idsession_id
#[must_use]
pub fn session(request_id: &str) -> String {
    format!("session-id={request_id}")
}

/// The body of `info/refs` for fetching in version 2: what the server can do, and in which request it says so. All that depends on the
/// repository is what names its objects, and `bundle_uri`, which says that it has a bundle for the client.
#[must_use]
pub fn capabilities_v2(format: ObjectFormat, request_id: &str, bundle_uri: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    pktline::push(&mut out, &[b"version 2\n"]);
    pktline::push(&mut out, &[b"agent=", AGENT.as_bytes(), b"\n"]);
    pktline::push(&mut out, &[b"ls-refs=unborn\n"]);
    pktline::push(&mut out, &[b"fetch=shallow wait-for-done filter ref-in-want sideband-all\n"]);
    pktline::push(&mut out, &[b"server-option\n"]);
    pktline::push(&mut out, &[b"object-format=", format.to_string().as_bytes(), b"\n"]);
    pktline::push(&mut out, &[b"object-info\n"]);
    if bundle_uri {
        pktline::push(&mut out, &[b"bundle-uri\n"]);
    }
    pktline::push(&mut out, &[session(request_id).as_bytes(), b"\n"]);
    out.extend_from_slice(pktline::FLUSH);
    out
}

/// The references, the first with the capabilities behind it.
fn references(service: Service, refs: &ReferencesView<'_>, out: &mut Vec<u8>) {
    let capabilities = capabilities_v0(service, refs);
    let mut first = Some(capabilities.as_str());
    let mut line = |id: &ObjectId, name: &[u8], suffix: &[u8], out: &mut Vec<u8>| {
        let mut hex = ObjectFormat::hex_buf();
        let hex = id.hex_to_buf(&mut hex).as_bytes();
        match first.take() {
            Some(capabilities) => pktline::push(out, &[hex, b" ", name, suffix, b"\0", capabilities.as_bytes(), b"\n"]),
            None => pktline::push(out, &[hex, b" ", name, suffix, b"\n"]),
        }
    };
    let is_fetch = service == Service::UploadPack;
    if let Some(head) = refs.head_id().filter(|_| is_fetch) {
        line(&head, b"HEAD", b"", out);
    }
    for Reference { name, id, peeled } in refs.visible(b"refs/") {
        line(&id, name, b"", out);
        if let Some(target) = peeled.filter(|_| is_fetch) {
            line(&target, name, b"^{}", out);
        }
    }
    if first.is_some() {
        let null = refs.format.null().to_string();
        pktline::push(out, &[null.as_bytes(), b" capabilities^{}\0", capabilities.as_bytes(), b"\n"]);
    }
    out.extend_from_slice(pktline::FLUSH);
}

/// What the server can do in versions 0 and 1.
fn capabilities_v0(service: Service, refs: &ReferencesView<'_>) -> String {
    let common = format!("object-format={} agent={AGENT}", refs.format);
    if service == Service::ReceivePack {
        return format!(
            "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta push-options {common}"
        );
    }
    let mut text = String::from(
        "multi_ack_detailed thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not \
         deepen-relative no-progress include-tag no-done allow-tip-sha1-in-want allow-reachable-sha1-in-want filter ",
    );
    if let (Some(head), Some(_)) = (refs.head, refs.head_id()) {
        // Capabilities are text without spaces; a name that is not UTF-8 is left out rather than garbled.
        if let Ok(name) = std::str::from_utf8(head.as_bstr()) {
            text.push_str("symref=HEAD:");
            text.push_str(name);
            text.push(' ');
        }
    }
    text + &common
}

#[cfg(test)]
mod tests;
