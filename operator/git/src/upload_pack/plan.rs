//! Deciding which objects a client gets, and how they are put together.

use gix::{
    ObjectId,
    hashtable::{HashMap, HashSet},
    objs::Kind,
};

use super::{
    Route,
    ancestors::{Commits, ancestors},
    commits::Walk,
    held::{Haves, Held},
    negotiate::Common,
    objects::TreeWalk,
    request::Request,
    shallow::Boundary,
    tabled, visible,
    wants::Wants,
};
use crate::{
    odb::{Commit, Error, ReadCache},
    pack_writer::Selection,
    peel::peel,
    view::RepositoryView,
};

/// From how many commits on it pays to ask tables what they introduce instead of comparing their trees. Asking costs next to
/// nothing for each, but then it must be found out what the client has: in a repository of 700 directories that is as much
/// work, some 25 ms, as comparing the trees of about 180 commits.
const MANY_COMMITS: usize = 200;

/// Commits at the end of a history that are looked at to find out what a client has.
const MAX_EDGES: usize = 8;

/// How the pack is made.
pub(super) enum Plan<'a> {
    /// The only pack, as it lies.
    Verbatim,
    /// All packs, one after the other.
    Joined,
    /// All objects, entry by entry.
    Whole,
    /// These objects.
    Walked(Chosen<'a>),
    /// The request was given up.
    Interrupted,
}

/// What a walk chose.
pub(super) struct Chosen<'a> {
    /// What to send.
    pub(super) selection: Selection,
    /// What the client has, as far as deltas may need it.
    pub(super) known: Held<'a>,
    /// For what is sent, what it replaces.
    pub(super) replaces: HashMap<ObjectId, ObjectId>,
    /// How it was chosen.
    pub(super) route: Route,
}

/// What a plan is made for.
pub(super) struct Question<'a> {
    pub(super) request: &'a Request,
    pub(super) view: &'a RepositoryView<'a>,
    pub(super) wants: &'a Wants,
    pub(super) common: &'a Common,
    /// Where the client's history ends.
    pub(super) boundary: &'a Boundary,
    /// Whether the answer is still waited for.
    pub(super) alive: &'a dyn Fn() -> bool,
}

impl Question<'_> {
    /// Whether deltas may build on what the client has. Who filters lacks some of what the commits that it has lead to.
    pub(super) fn is_thin(&self) -> bool {
        self.request.thin_pack && !self.common.is_empty() && self.request.filter.is_none()
    }

    /// Those of the commits that are sent: if the filter leaves commits out, only those that were named.
    pub(super) fn commits_sent(&self, found: impl Iterator<Item = ObjectId>) -> Vec<ObjectId> {
        if self.request.filter.is_none_or(|filter| filter.sends(Kind::Commit)) {
            return found.collect();
        }
        let named: HashSet<&ObjectId> = self.wants.named.iter().collect();
        self.wants.commits.iter().filter(|id| named.contains(id)).copied().collect()
    }
}

/// Makes the plan.
pub(super) fn plan<'a>(question: &Question<'a>, cache: &mut ReadCache) -> Result<Plan<'a>, Error> {
    let Question { request, view, wants, common, boundary, .. } = *question;
    if request.is_plain() && common.is_empty() && everything_is_wanted(view, wants) {
        return Ok(match view.packs.packs() {
            _ if !request.ofs_delta => Plan::Whole,
            [_] => Plan::Verbatim,
            _ if view.packs.disjoint() => Plan::Joined,
            _ => Plan::Whole,
        });
    }
    let has_tables = view.packs.packs().iter().any(|pack| pack.table().is_some());
    let minds_depth = request.filter.is_some_and(|filter| filter.minds_depth());
    if has_tables && common.is_empty() && boundary.cut.is_empty() && !minds_depth {
        return everything_behind(question, cache);
    }
    walk(question, cache)
}

/// Chooses all that the wants lead to, when the client has nothing of it.
fn everything_behind<'a>(question: &Question<'a>, cache: &mut ReadCache) -> Result<Plan<'a>, Error> {
    let Question { request, view, wants, alive, .. } = *question;
    let Some(commits) = ancestors(view.packs, &wants.commits, alive, cache)? else { return Ok(Plan::Interrupted) };
    let mut tags: HashSet<ObjectId> = wants.tags.iter().copied().collect();
    if request.include_tag {
        // So many commits are sent that each tag is asked for its commit rather than each commit for its tags.
        let all = view.refs.visible(b"refs/tags/");
        let sent = |target: &ObjectId| commits.contains(view.packs, target);
        let tips = all.filter(|tag| tag.peeled.as_ref().is_some_and(sent)).map(|tag| tag.id).collect();
        follow_tags(question, tips, &mut tags, cache)?;
    }
    tabled::choose(question, &commits, &tags, &[], cache)
}

/// Whether all that is in the packs is visible, and all that is visible is wanted: then nothing need be looked at.
pub(super) fn everything_is_wanted(view: &RepositoryView<'_>, wants: &Wants) -> bool {
    if !visible::is_everything(view) {
        return false;
    }
    let named: HashSet<ObjectId> = wants.named.iter().chain(&wants.commits).chain(&wants.tags).copied().collect();
    view.refs.visible(b"refs/").all(|reference| named.contains(&reference.id))
}

/// Chooses by walking from the wants to what is common.
fn walk<'a>(question: &Question<'a>, cache: &mut ReadCache) -> Result<Plan<'a>, Error> {
    let Question { request, view, wants, common, boundary, alive } = *question;
    let haves: Vec<ObjectId> = common.commits.iter().chain(&boundary.haves).copied().collect();
    let wanted: Vec<ObjectId> = wants.commits.iter().chain(&boundary.wants).copied().collect();
    let Some(mut walked) = Walk::new(view.packs, cache).cut(&boundary.cut).run(&wanted, &haves, alive)? else {
        return Ok(Plan::Interrupted);
    };
    if !boundary.cut.is_empty() {
        walked.edge.extend(trees_of(view, &haves, cache)?);
    }
    let mut tags: HashSet<ObjectId> = wants.tags.iter().copied().filter(|id| !common.others.contains(id)).collect();
    let sent: HashMap<ObjectId, &Commit> = walked.commits.iter().map(|(id, commit)| (*id, commit)).collect();
    if request.include_tag {
        let mut tips = Vec::new();
        view.refs.leading_to(&sent.keys().copied().collect(), &mut |reference| {
            let target = reference.peeled.filter(|target| reference.is_tag() && sent.contains_key(target));
            tips.extend(target.map(|_| reference.id));
        });
        follow_tags(question, tips, &mut tags, cache)?;
    }
    let in_tables = walked.commits.iter().filter(|(_, commit)| commit.place.is_some()).count();
    let minds_depth = request.filter.is_some_and(|filter| filter.minds_depth());
    if in_tables >= MANY_COMMITS && !minds_depth {
        drop(sent);
        let mut commits = Commits::none(view.packs);
        for (id, commit) in walked.commits {
            commits.insert(view.packs, id, commit);
        }
        return tabled::choose(question, &commits, &tags, &walked.edge, cache);
    }
    let thin = question.is_thin();
    let mut outside = HashMap::default();
    let mut buffer = Vec::new();
    for (_, commit) in &walked.commits {
        for parent in commit.parents.iter().filter(|parent| !sent.contains_key(*parent)) {
            if !outside.contains_key(parent) {
                let near = commit.place.map(|place| place.pack);
                outside.insert(*parent, view.packs.commit(parent, near, &mut buffer, cache)?.tree);
            }
        }
    }
    let mut trees = TreeWalk::new(view.packs, cache, thin).filtered(request.filter);
    for (id, kind) in wants.others.iter().filter(|(id, _)| !common.others.contains(id)) {
        trees.object(*id, *kind)?;
    }
    let commits = walked.commits.iter().map(|(id, commit)| (id, commit));
    for (at, commit) in parents_first(commits, &sent).into_iter().enumerate() {
        if at.is_multiple_of(256) && !alive() {
            return Ok(Plan::Interrupted);
        }
        let tree_of = |id| sent.get(id).map(|commit| commit.tree).or_else(|| outside.get(id).copied());
        trees.commit(commit, commit.parents.iter().filter_map(tree_of).collect())?;
    }
    drop(outside);
    let haves = Haves::of(question);
    let mut found = trees.finish(&walked.edge, haves.as_ref())?;
    let commits = question.commits_sent(walked.commits.iter().map(|(id, _)| *id));
    let objects = std::mem::take(&mut found.objects);
    let selection = Selection::of(view.packs, commits.into_iter().chain(tags).chain(objects))?;
    if thin {
        // Commits and tags build deltas on one another as well.
        found.known.extend(common.commits.iter().chain(&common.others));
    }
    let known = Held::these(found.known).and_behind(haves);
    Ok(Plan::Walked(Chosen { selection, known, replaces: found.replaces, route: Route::Walked }))
}

/// The trees of some of these commits, the youngest: most of what a history that is cut off has, they have.
fn trees_of(view: &RepositoryView<'_>, commits: &[ObjectId], cache: &mut ReadCache) -> Result<Vec<ObjectId>, Error> {
    let mut buffer = Vec::new();
    let mut found = Vec::with_capacity(commits.len());
    for id in commits {
        let commit = view.packs.commit(id, None, &mut buffer, cache)?;
        found.push((commit.date, commit.tree));
    }
    found.sort_unstable_by_key(|(date, _)| std::cmp::Reverse(*date));
    Ok(found.into_iter().take(MAX_EDGES).map(|(_, tree)| tree).collect())
}

/// The commits, each after all of its parents. The walk over trees relies on it: what a tree has in common with the tree of
/// a parent was dealt with there. Dates would not do, and without an order a change and its revert vouch for each other.
pub(super) fn parents_first<'a>(
    commits: impl DoubleEndedIterator<Item = (&'a ObjectId, &'a Commit)>,
    sent: &HashMap<ObjectId, &'a Commit>,
) -> Vec<&'a Commit> {
    let mut order = Vec::with_capacity(sent.len());
    let mut met = HashSet::default();
    let mut path: Vec<(&Commit, usize)> = Vec::new();
    // Oldest first: most parents are there already and the path stays short.
    for (id, commit) in commits.rev() {
        if met.insert(*id) {
            path.push((commit, 0));
        }
        while let Some((commit, at)) = path.last_mut() {
            let Some(parent) = commit.parents.get(*at) else {
                order.push(*commit);
                path.pop();
                continue;
            };
            *at += 1;
            if let Some(next) = sent.get(parent).filter(|_| met.insert(*parent)) {
                path.push((*next, 0));
            }
        }
    }
    order
}

/// Adds the tags `tips`, and those that they lead to.
fn follow_tags(
    question: &Question<'_>,
    tips: Vec<ObjectId>,
    tags: &mut HashSet<ObjectId>,
    cache: &mut ReadCache,
) -> Result<(), Error> {
    let Question { view, common, .. } = question;
    for tip in tips {
        let peeled = peel(view.packs, &tip, cache)?;
        tags.extend(peeled.into_iter().flat_map(|peeled| peeled.tags).filter(|id| !common.others.contains(id)));
    }
    Ok(())
}
