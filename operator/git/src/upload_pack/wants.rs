//! Checking what a client wants: it gets what is visible and nothing else.

use gix::{ObjectId, bstr::BString, hashtable::HashSet, objs::Kind};

use super::{Request, commits, visible};
use crate::{
    odb::{Error, ReadCache},
    peel::peel,
    view::RepositoryView,
};

/// Commits that are looked at to find out whether a want that is no tip is visible.
const MAX_WALK: usize = 2_000_000;

/// Wants, sorted by what they are.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// As the client named them, each once.
    pub(super) named: Vec<ObjectId>,
    /// References that were wanted by name, with their values.
    pub(super) by_name: Vec<(ObjectId, BString)>,
    /// Commits, those behind tags included.
    pub(super) commits: Vec<ObjectId>,
    /// Tag objects, those behind tags included.
    pub(super) tags: Vec<ObjectId>,
    /// Trees and blobs that are wanted for themselves (tips can be such).
    pub(super) others: Vec<(ObjectId, Kind)>,
}

impl Wants {
    fn add(&mut self, id: ObjectId, kind: Kind) {
        match kind {
            Kind::Commit => self.commits.push(id),
            Kind::Tag => self.tags.push(id),
            Kind::Tree | Kind::Blob => self.others.push((id, kind)),
        }
    }
}

/// Sorts the wants; the inner error is the refusal that the client reads.
pub(super) fn check(
    request: &Request,
    has_nothing: bool,
    view: &RepositoryView<'_>,
    cache: &mut ReadCache,
) -> Result<Result<Wants, String>, Error> {
    let mut named = HashSet::default();
    let mut by_name = Vec::with_capacity(request.want_refs.len());
    for name in &request.want_refs {
        let found = view.refs.visible(name).next().filter(|reference| reference.name == name.as_slice());
        let head = if name == "HEAD" { view.refs.head_id() } else { None };
        match found.map(|reference| reference.id).or(head) {
            Some(id) => by_name.push((id, name.clone())),
            None => return Ok(Err(format!("upload-pack: unknown ref {name}"))),
        }
    }
    let ids = request.wants.iter().copied().chain(by_name.iter().map(|(id, _)| *id));
    let mut wants = Wants { named: ids.filter(|id| named.insert(*id)).collect(), by_name, ..Wants::default() };
    let not_ours = |id: &ObjectId| Ok(Err(format!("upload-pack: not our ref {id}")));
    let mut tips = HashSet::default();
    view.refs.leading_to(&named, &mut |reference| {
        if named.contains(&reference.id) {
            tips.insert(reference.id);
        }
    });
    let only_tips = wants.named.iter().all(|id| tips.contains(id));
    if has_nothing && request.is_plain() && only_tips && super::plan::everything_is_wanted(view, &wants) {
        // Then nothing is walked and nobody asks what the wants are.
        return Ok(Ok(wants));
    }
    let (mut unproven, mut strays) = (Vec::new(), HashSet::default());
    for id in wants.named.clone() {
        let Some(kind) = view.packs.kind(&id, cache)? else {
            if tips.contains(&id) {
                return Err(Error::Missing(id));
            }
            return not_ours(&id);
        };
        let is_tip = tips.contains(&id);
        match (is_tip, kind) {
            (false, Kind::Commit) => unproven.push(id),
            (false, _) => {
                strays.insert(id);
            }
            (true, _) => {}
        }
        match peel(view.packs, &id, cache)? {
            None => wants.add(id, kind),
            Some(peeled) => {
                wants.tags.extend(peeled.tags);
                wants.add(peeled.target, peeled.kind);
            }
        }
    }
    if let Some(first) = visible::hidden(view, &strays, cache)?.iter().next() {
        return not_ours(first);
    }
    if let Some(first) = unproven.first()
        && !are_visible(view, &unproven, cache)?
    {
        return not_ours(first);
    }
    for list in [&mut wants.commits, &mut wants.tags] {
        list.sort_unstable();
        list.dedup();
    }
    Ok(Ok(wants))
}

/// Whether all of these commits are reachable from visible references: mostly the default branch tells, and the others, of which
/// there may be very many, are not looked at.
pub(super) fn are_visible(
    view: &RepositoryView<'_>,
    commits: &[ObjectId],
    cache: &mut ReadCache,
) -> Result<bool, Error> {
    if let Some(head) = view.refs.head_id()
        && commits::reachable(view.packs, &[head], commits, MAX_WALK, cache)?
    {
        return Ok(true);
    }
    let mut tips = HashSet::default();
    for reference in view.refs.visible(b"refs/") {
        let tip = reference.peeled.unwrap_or(reference.id);
        if !tips.contains(&tip) && view.packs.kind(&tip, cache)? == Some(Kind::Commit) {
            tips.insert(tip);
        }
    }
    let tips: Vec<ObjectId> = tips.into_iter().collect();
    commits::reachable(view.packs, &tips, commits, MAX_WALK, cache)
}
