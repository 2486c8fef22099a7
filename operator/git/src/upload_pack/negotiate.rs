//! Finding out what client and server have in common, one round of it.
//!
//! Stateless: every request brings all it knows. The answer acknowledges what is common and tells when it is enough, so that
//! the client stops asking ([gitprotocol-v2], [gitprotocol-pack]).
//!
//! [gitprotocol-v2]: https://git-scm.com/docs/protocol-v2#_fetch
//! [gitprotocol-pack]: https://git-scm.com/docs/pack-protocol#_packfile_negotiation

use gix::{ObjectId, hashtable::HashSet, objs::Kind};

use super::{
    commits,
    request::{Acknowledge, Form, Request},
    shallow::Boundary,
    wants::Wants,
};
use crate::{
    odb::{Error, ReadCache},
    peel::peel,
    pktline, sideband,
    view::RepositoryView,
};

/// Commits that are looked at to find out whether the client has said enough. Beyond that it is asked for more.
const MAX_WALK: usize = 300_000;

/// What the client has.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Commits, those behind tags included.
    pub(super) commits: HashSet<ObjectId>,
    /// Every other object that it named.
    pub(super) others: HashSet<ObjectId>,
}

impl Common {
    /// Whether nothing is common.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.others.is_empty()
    }

    /// Objects in it.
    pub(super) fn len(&self) -> usize {
        self.commits.len() + self.others.len()
    }

    /// Takes in what the client has; false if nobody has it here.
    pub(super) fn add(
        &mut self,
        id: &ObjectId,
        view: &RepositoryView<'_>,
        cache: &mut ReadCache,
    ) -> Result<bool, Error> {
        let Some(kind) = view.packs.kind(id, cache)? else { return Ok(false) };
        if kind == Kind::Commit {
            self.commits.insert(*id);
            return Ok(true);
        }
        self.others.insert(*id);
        if let Some(peeled) = peel(view.packs, id, cache)? {
            self.others.extend(peeled.tags);
            if peeled.kind == Kind::Commit {
                self.commits.insert(peeled.target);
            }
        }
        Ok(true)
    }
}

/// The result of a round.
pub(super) struct Negotiated {
    /// What to write.
    pub(super) lines: Vec<u8>,
    /// Whether the pack comes behind it.
    pub(super) pack_follows: bool,
    /// What is common.
    pub(super) common: Common,
}

/// Answers the `have` lines of a request.
pub(super) fn negotiate(
    request: &Request,
    view: &RepositoryView<'_>,
    wants: &Wants,
    cache: &mut ReadCache,
) -> Result<Negotiated, Error> {
    let mut common = Common::default();
    let mut acknowledged = Vec::new();
    for id in &request.haves {
        if common.add(id, view, cache)? {
            acknowledged.push(*id);
        }
    }
    let mut lines = Vec::new();
    let pack_follows = match request.form {
        Form::V2 { wait_for_done } => {
            let ready =
                !request.done && !wait_for_done && !request.haves.is_empty() && enough(view, wants, &common, cache)?;
            v2(request, &acknowledged, ready, &mut lines)
        }
        Form::V0 { acknowledge, no_done } => {
            let ready = !request.done && acknowledge == Acknowledge::Detailed && enough(view, wants, &common, cache)?;
            v0(request, &acknowledged, (acknowledge, no_done && ready, ready), &mut lines)
        }
    };
    Ok(Negotiated { lines, pack_follows, common })
}

/// All that is said before the pack, or instead of it.
pub(super) fn sections(request: &Request, wants: &Wants, boundary: &Boundary, negotiated: &Negotiated) -> Vec<u8> {
    let mut out = Vec::new();
    if let Form::V0 { .. } = request.form {
        if request.deepen.is_asked() {
            out.extend_from_slice(&boundary.lines);
            out.extend_from_slice(pktline::FLUSH);
            if request.haves.is_empty() && !request.done {
                // It asks again when it has read where its history ends.
                return out;
            }
        }
        out.extend_from_slice(&negotiated.lines);
        return out;
    }
    out.extend_from_slice(&negotiated.lines);
    if negotiated.pack_follows {
        if request.deepen.is_asked() || !request.shallow.is_empty() {
            pktline::push(&mut out, &[b"shallow-info\n"]);
            out.extend_from_slice(&boundary.lines);
            out.extend_from_slice(pktline::DELIMITER);
        }
        if !wants.by_name.is_empty() {
            pktline::push(&mut out, &[b"wanted-refs\n"]);
            for (id, name) in &wants.by_name {
                pktline::push(&mut out, &[id.to_string().as_bytes(), b" ", name, b"\n"]);
            }
            out.extend_from_slice(pktline::DELIMITER);
        }
        pktline::push(&mut out, &[b"packfile\n"]);
    }
    if request.sideband_all { sideband::multiplexed(&out) } else { out }
}

/// Whether every wanted commit reaches something common.
pub(super) fn enough(
    view: &RepositoryView<'_>,
    wants: &Wants,
    common: &Common,
    cache: &mut ReadCache,
) -> Result<bool, Error> {
    if common.commits.is_empty() || wants.commits.is_empty() {
        return Ok(false);
    }
    commits::all_reach(view.packs, &wants.commits, &common.commits, MAX_WALK, cache)
}

/// One acknowledgement.
pub(super) fn ack(lines: &mut Vec<u8>, id: &ObjectId, suffix: &str) {
    pktline::push(lines, &[b"ACK ", id.to_string().as_bytes(), suffix.as_bytes(), b"\n"]);
}

/// Version 2: a section of acknowledgements; true if the pack, and what is said before it, follows.
fn v2(request: &Request, acknowledged: &[ObjectId], ready: bool, lines: &mut Vec<u8>) -> bool {
    if request.wants.is_empty() && request.want_refs.is_empty() {
        lines.extend_from_slice(pktline::FLUSH);
        return false;
    }
    let wait = matches!(request.form, Form::V2 { wait_for_done: true });
    if !request.done && (wait || !request.haves.is_empty()) {
        pktline::push(lines, &[b"acknowledgments\n"]);
        if acknowledged.is_empty() {
            pktline::push(lines, &[b"NAK\n"]);
        }
        for id in acknowledged {
            ack(lines, id, "");
        }
        if !ready {
            lines.extend_from_slice(pktline::FLUSH);
            return false;
        }
        pktline::push(lines, &[b"ready\n"]);
        lines.extend_from_slice(pktline::DELIMITER);
    }
    true
}

/// Versions 0 and 1, as `upload-pack --stateless-rpc` does it; true if the pack follows.
fn v0(request: &Request, acknowledged: &[ObjectId], how: (Acknowledge, bool, bool), lines: &mut Vec<u8>) -> bool {
    let (acknowledge, pack_when_ready, ready) = how;
    match acknowledge {
        Acknowledge::Detailed => {
            for id in acknowledged {
                ack(lines, id, " common");
            }
        }
        Acknowledge::First if request.done => {}
        Acknowledge::First => {
            if let Some(first) = acknowledged.first() {
                ack(lines, first, "");
            }
        }
    }
    let last = acknowledged.last();
    if request.done {
        match (last, acknowledge) {
            (Some(last), Acknowledge::Detailed) => ack(lines, last, ""),
            (Some(_), Acknowledge::First) => {
                if let Some(first) = acknowledged.first() {
                    ack(lines, first, "");
                }
            }
            (None, _) => pktline::push(lines, &[b"NAK\n"]),
        }
        return true;
    }
    if let Some(last) = last.filter(|_| ready) {
        ack(lines, last, " ready");
    }
    if acknowledge == Acknowledge::Detailed || acknowledged.is_empty() {
        pktline::push(lines, &[b"NAK\n"]);
    }
    if let Some(last) = last.filter(|_| pack_when_ready) {
        ack(lines, last, "");
        return true;
    }
    false
}
