//! Shallow clones: where the history of a client ends, and where it is to end ([gitprotocol-pack]).
//!
//! A *shallow* commit is one whose parents the client does not have. All walks for such a client treat it as if it had none.
//!
//! [gitprotocol-pack]: https://git-scm.com/docs/gitprotocol-pack#_packfile_negotiation

use std::collections::VecDeque;

use gix::{ObjectId, bstr::BString, hashtable::HashSet, objs::Kind};

use super::{ancestors::ancestors, commits::Walk, request::Request, wants::Wants};
use crate::{
    odb::{Error, ReadCache},
    pktline,
    view::RepositoryView,
};

/// As deep as it goes: git's own number.
pub(super) const INFINITE: u32 = 0x7fff_ffff;

/// Where a client wants its history to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deepen {
    /// `deepen`: so many commits from what is wanted.
    pub depth: Option<u32>,
    /// `deepen-relative`: counted from where its history ends now.
    pub relative: bool,
    /// `deepen-since`: commits of this time, in seconds, and younger.
    pub since: Option<i64>,
    /// `deepen-not`: nothing that these references lead to.
    pub not: Vec<BString>,
}

impl Deepen {
    /// Whether the client says where it is to end.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.depth.is_some() || self.since.is_some() || !self.not.is_empty()
    }
}

/// Where the history of the client ends.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// What the client is told: `shallow` and `unshallow` lines.
    pub(super) lines: Vec<u8>,
    /// Commits behind which nothing is looked at.
    pub(super) cut: HashSet<ObjectId>,
    /// Parents of what was shallow and is not any more.
    pub(super) wants: Vec<ObjectId>,
    /// What was shallow and is not any more: the client has it.
    pub(super) haves: Vec<ObjectId>,
}

/// What the history of the client is to be.
#[derive(Default)]
struct Range {
    /// Its commits, as far as their parents are in it as well; those at the end may be in it.
    inside: HashSet<ObjectId>,
    /// Those at the end.
    ends: HashSet<ObjectId>,
}

/// Finds out where the history of the client ends; the inner error is the refusal that the client reads.
pub(super) fn boundary(
    request: &Request,
    view: &RepositoryView<'_>,
    wants: &Wants,
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Result<Boundary, String>, Error> {
    let mut ended = HashSet::default();
    for id in &request.shallow {
        match view.packs.kind(id, cache)? {
            Some(Kind::Commit) => {
                ended.insert(*id);
            }
            // git does not mind what it does not know.
            None => {}
            Some(_) => return Ok(Err(format!("upload-pack: invalid shallow object {id}"))),
        }
    }
    if !request.deepen.is_asked() {
        return Ok(Ok(Boundary { cut: ended, ..Boundary::default() }));
    }
    match range(request, view, wants, &ended, alive, cache)? {
        Ok(range) => told(view, ended, &range, cache).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn range(
    request: &Request,
    view: &RepositoryView<'_>,
    wants: &Wants,
    ended: &HashSet<ObjectId>,
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Result<Range, String>, Error> {
    let Deepen { depth, relative, since, not } = &request.deepen;
    if let Some(depth) = depth {
        if since.is_some() || !not.is_empty() {
            return Ok(Err("upload-pack: deepen and deepen-since (or deepen-not) cannot be used together".to_owned()));
        }
        let from_ends = *depth == INFINITE || (*relative && !ended.is_empty());
        let (from, depth) = if from_ends {
            (behind(view, wants, ended, alive, cache)?, depth.saturating_add(1))
        } else {
            (wants.commits.clone(), *depth)
        };
        if depth > INFINITE {
            return Ok(Ok(Range { inside: from.into_iter().collect(), ..Range::default() }));
        }
        return levels(view, from, depth, alive, cache).map(Ok);
    }
    let mut excluded = Vec::new();
    for name in not {
        match tip(view, name, cache)? {
            Some(id) => excluded.push(id),
            None => return Ok(Err(format!("upload-pack: deepen-not is not a ref: {name}"))),
        }
    }
    let range = younger(view, wants, (since.unwrap_or(i64::MIN), &excluded), alive, cache)?;
    if range.inside.is_empty() {
        return Ok(Err("upload-pack: no commits selected for shallow requests".to_owned()));
    }
    Ok(Ok(range))
}

/// The commit of a visible reference.
fn tip(view: &RepositoryView<'_>, name: &BString, cache: &mut ReadCache) -> Result<Option<ObjectId>, Error> {
    let Some((id, peeled)) = view.refs.named(name) else { return Ok(None) };
    let id = peeled.unwrap_or(id);
    let kind = view.packs.kind(&id, cache)?;
    Ok(Some(id).filter(|_| kind == Some(Kind::Commit)))
}

/// Those of the ends that the wants lead to. What is behind others may be hidden from the client, and it did not ask for it.
fn behind(
    view: &RepositoryView<'_>,
    wants: &Wants,
    ended: &HashSet<ObjectId>,
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Vec<ObjectId>, Error> {
    let Some(commits) = ancestors(view.packs, &wants.commits, alive, cache)? else { return Ok(vec![]) };
    Ok(ended.iter().copied().filter(|id| commits.contains(view.packs, id)).collect())
}

/// Commits up to so many steps from some, which are at the first.
fn levels(
    view: &RepositoryView<'_>,
    from: Vec<ObjectId>,
    depth: u32,
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Range, Error> {
    let mut range = Range::default();
    let mut buffer = Vec::new();
    let mut todo: VecDeque<(ObjectId, u32)> = from.into_iter().map(|id| (id, 1)).collect();
    let mut met: HashSet<ObjectId> = todo.iter().map(|(id, _)| *id).collect();
    while let Some((id, level)) = todo.pop_front() {
        if level >= depth {
            range.ends.insert(id);
            continue;
        }
        if range.inside.len().is_multiple_of(1_024) && !alive() {
            break;
        }
        range.inside.insert(id);
        for parent in &view.packs.commit(&id, None, &mut buffer, cache)?.parents {
            if met.insert(*parent) {
                todo.push_back((*parent, level + 1));
            }
        }
    }
    Ok(range)
}

/// Commits that are young enough and that nothing excluded leads to.
fn younger(
    view: &RepositoryView<'_>,
    wants: &Wants,
    (since, excluded): (i64, &[ObjectId]),
    alive: &dyn Fn() -> bool,
    cache: &mut ReadCache,
) -> Result<Range, Error> {
    let mut range = Range::default();
    let Some(walked) = Walk::new(view.packs, cache).since(since).run(&wants.commits, excluded, alive)? else {
        return Ok(range);
    };
    range.inside.extend(walked.commits.iter().filter(|(_, commit)| commit.date >= since).map(|(id, _)| *id));
    for (id, commit) in &walked.commits {
        if range.inside.contains(id) && !commit.parents.iter().all(|parent| range.inside.contains(parent)) {
            range.ends.insert(*id);
        }
    }
    Ok(range)
}

/// What comes of it for a client whose history has ended at `ended`.
fn told(
    view: &RepositoryView<'_>,
    ended: HashSet<ObjectId>,
    range: &Range,
    cache: &mut ReadCache,
) -> Result<Boundary, Error> {
    let mut boundary = Boundary::default();
    let mut buffer = Vec::new();
    let line = |lines: &mut Vec<u8>, word: &[u8], id: &ObjectId| {
        pktline::push(lines, &[word, id.to_string().as_bytes()]);
    };
    let sorted = |ids: &HashSet<ObjectId>| {
        let mut ids: Vec<ObjectId> = ids.iter().copied().collect();
        ids.sort_unstable();
        ids
    };
    for id in sorted(&range.ends).iter().filter(|id| !ended.contains(*id)) {
        line(&mut boundary.lines, b"shallow ", id);
    }
    for id in sorted(&ended).into_iter().filter(|id| range.inside.contains(id) && !range.ends.contains(id)) {
        line(&mut boundary.lines, b"unshallow ", &id);
        boundary.wants.extend_from_slice(&view.packs.commit(&id, None, &mut buffer, cache)?.parents);
        boundary.haves.push(id);
    }
    boundary.cut = ended;
    boundary.cut.extend(&range.ends);
    Ok(boundary)
}
