//! Asks real git the same question: what is fetched here must be what `git rev-list --objects` names, in a pack that
//! `git index-pack` takes and `git fsck` likes.

#[cfg(test)]
mod bundle;

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod conversation;

#[cfg(test)]
mod fetch;

#[cfg(test)]
mod fold;

#[cfg(test)]
mod lfs_pointers;

#[cfg(test)]
mod measure;

#[cfg(test)]
mod partial;

#[cfg(test)]
mod prune;

#[cfg(test)]
mod reach;

#[cfg(test)]
mod sparse;

#[cfg(test)]
mod tabled;
