//! `codekeep store verify`: everything that the stores of a repository hold, compared and mended, without a server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::{RepositoryId, RepositoryPath};

use super::{Copies, Kept, Manner, View};
use crate::error::Error;
use crate::keys::{self, LfsPart};
use crate::object::{ObjectStore, list_all};
use crate::repositories::{Repositories, catalog_id};
use crate::repository::open;
use crate::state::{Snapshot, StoredPack, Upload};

/// Of a store without a copy.
const ABSENT: &str = "it has no repository of this name";

/// What the stores of a repository hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How often another store has become the primary one.
    pub epoch: u64,
    /// The primary store first.
    pub stores: Vec<StoreReport>,
}

/// What one store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Its name.
    pub store: String,
    /// The last entry that it has.
    pub generation: u64,
    /// Entries of the primary store that it does not have yet.
    pub behind: u64,
    /// Objects that are what they have to be.
    pub objects: u64,
    /// One line for each that is missing or damaged.
    pub problems: Vec<String>,
    /// One line for each that was, and has been written anew.
    pub mended: Vec<String>,
    /// What it holds that the repository does not need.
    pub surplus: Surplus,
    /// It has no repository of this name.
    pub is_absent: bool,
    /// Why not everything was read.
    pub away: Option<String>,
}

/// What a store holds that nobody reads. It does no harm: it is deleted in its own time, or stays where an old primary store was overruled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Entries that came too late to count.
    pub entries: u64,
    /// Uploads that no entry names: of pushes under way or given up.
    pub uploads: u64,
    /// LFS objects that the primary store does not have.
    pub lfs: u64,
    /// Bytes of all of it.
    pub bytes: u64,
}

/// What a store says of a repository's name.
struct Named {
    store: String,
    objects: Arc<dyn ObjectStore>,
    found: Result<Option<Bytes>, Error>,
}

impl Named {
    fn id(&self, key: &str) -> Option<RepositoryId> {
        catalog_id(key, self.found.as_ref().ok()?.as_ref()?).ok()
    }
}

impl Repositories {
    /// Reads everything that the stores of a repository hold of it and, with `mends`, writes anew what one has lost or has damaged, from another
    /// one's verified copy. `None` when no store has it.
    ///
    /// # Errors
    /// When the primary store does not answer, or nothing can be decrypted.
    pub async fn verify(&self, path: &RepositoryPath, mends: bool) -> Result<Option<Verified>, Error> {
        let key = keys::catalog_entry(path);
        let names = self.names(path, &key).await;
        let Some((id, entry)) =
            names.iter().find_map(|named| Some((named.id(&key)?, named.found.as_ref().ok()?.clone()?)))
        else {
            return match names.into_iter().find_map(|named| named.found.err()) {
                Some(error) => Err(error),
                None => Ok(None),
            };
        };
        let mut reports = names_told(&names, (&key, &id, &entry), mends).await;
        self.recall(path, &key, &entry)?;
        let shared = self.shared(&id);
        if let Some(replicated) = &shared.replicated {
            replicated.learn().await;
        }
        let mut copies = Copies::of(&shared, &id, Manner { mends, rests: false })?;
        for view in &mut copies.views {
            let Some(report) = reports.remove(&*view.member.name) else { continue };
            view.problems = report.problems;
            view.mended = report.mended;
            view.away = report.away;
        }
        let surplus = copies.examine_all(&id).await?;
        Ok(Some(copies.reported(surplus, &reports)))
    }

    /// What each store of a repository says of its name; that of the store which the manifest names comes first.
    async fn names(&self, path: &RepositoryPath, key: &str) -> Vec<Named> {
        let mut names = vec![];
        for (store, objects) in self.places(path) {
            let found = objects.get(key).await.map_err(Error::from);
            names.push(Named { store, objects, found });
        }
        names
    }
}

/// Tells of each store whether it has this repository under the name; with `mends` writes the name anew where it cannot be read.
async fn names_told(
    names: &[Named],
    (key, id, entry): (&str, &RepositoryId, &Bytes),
    mends: bool,
) -> BTreeMap<String, StoreReport> {
    let mut reports = BTreeMap::new();
    for named in names {
        let mut report = StoreReport { store: named.store.clone(), ..StoreReport::default() };
        match &named.found {
            Err(error) => report.away = Some(error.to_string()),
            Ok(None) => report.away = Some(ABSENT.to_owned()),
            Ok(Some(body)) => match catalog_id(key, body) {
                Ok(found) if found == *id => {}
                Ok(found) => report.away = Some(format!("it holds another repository of this name, {found}")),
                Err(fault) if mends => match named.objects.put(key, entry.clone()).await {
                    Ok(()) => report.mended.push(format!("{fault} (in the store '{}'): written anew", named.store)),
                    Err(error) => report.problems.push(format!("{fault}; it cannot be written anew: {error}")),
                },
                Err(fault) => report.problems.push(format!("{fault} (in the store '{}')", named.store)),
            },
        }
        reports.insert(named.store.clone(), report);
    }
    reports
}

impl Copies {
    /// All that there is; gives what each store holds beyond.
    async fn examine_all(&mut self, id: &RepositoryId) -> Result<Vec<Surplus>, Error> {
        self.examine_records().await?;
        self.survey(0).await?;
        let last = self.views[0].end;
        self.examine_log(last, None, 0).await?;
        self.examine_derived(last).await?;
        let snapshot = match self.state().await {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_damage() => {
                self.views[0].problems.push(format!("the state of the repository cannot be read: {error}"));
                return Ok(vec![]);
            }
            Err(error) => return Err(error),
        };
        for pack in snapshot.packs.iter() {
            for kept in Kept::of_pack(id, pack, snapshot.generation) {
                let read = self.read(&kept).await?;
                if !read.is_sound() && has(&self.state().await?, pack) {
                    self.mend(&kept, read).await?;
                }
            }
        }
        self.examine_all_lfs().await?;
        self.surplus(&snapshot).await
    }

    /// The newest state, from the primary store.
    async fn state(&self) -> Result<Snapshot, Error> {
        Ok(open::latest(&self.views[0].shared, &self.id).await?.snapshot)
    }

    async fn surplus(&self, snapshot: &Snapshot) -> Result<Vec<Surplus>, Error> {
        let named = snapshot.uploads();
        let at_home = list_all(self.views[0].member.raw(), &keys::lfs_all(&self.id)).await?;
        let at_home: BTreeSet<String> = at_home.into_iter().map(|object| object.key).collect();
        let mut all = vec![];
        for view in &self.views {
            all.push(match view.away {
                Some(_) => Surplus::default(),
                None => view.surplus(&self.id, &named, &at_home).await?,
            });
        }
        Ok(all)
    }

    /// What is to be told, also of stores that hold nothing.
    fn reported(self, surplus: Vec<Surplus>, names: &BTreeMap<String, StoreReport>) -> Verified {
        let last = self.views.first().map_or(0, |view| view.end);
        let mut surplus = surplus.into_iter();
        let stores = self.views.into_iter().map(|view| StoreReport {
            store: view.member.name.to_string(),
            generation: view.end,
            behind: if view.away.is_some() { 0 } else { last.saturating_sub(view.end) },
            objects: view.objects,
            problems: view.problems,
            mended: view.mended,
            surplus: surplus.next().unwrap_or_default(),
            is_absent: view.away.as_deref() == Some(ABSENT),
            away: view.away,
        });
        Verified { epoch: self.epoch, stores: stores.chain(names.values().cloned()).collect() }
    }
}

impl View {
    /// What it holds beside what the log names, and beside the LFS objects of the primary store.
    async fn surplus(
        &self,
        id: &RepositoryId,
        named: &BTreeSet<Upload>,
        at_home: &BTreeSet<String>,
    ) -> Result<Surplus, Error> {
        let (entries, mut bytes) = self.member.surplus().await?;
        let (mut uploads, mut lfs) = (BTreeSet::new(), 0);
        for object in list_all(self.member.raw(), &keys::pack_all(id)).await? {
            let unnamed = keys::upload(&object.key).filter(|upload| !named.contains(upload));
            bytes += unnamed.map_or(0, |_| object.size);
            uploads.extend(unnamed);
        }
        let listed = list_all(self.member.raw(), &keys::lfs_all(id)).await?;
        for object in listed.into_iter().filter(|object| !at_home.contains(&object.key)) {
            lfs += u64::from(matches!(keys::lfs_part(&object.key), Some((_, _, LfsPart::Content))));
            bytes += object.size;
        }
        Ok(Surplus { entries, uploads: uploads.len() as u64, lfs, bytes })
    }
}

/// Whether the log still names a pack with all that belongs to it.
fn has(snapshot: &Snapshot, pack: &StoredPack) -> bool {
    snapshot.packs.iter().any(|other| (other.record.place, other.reach) == (pack.record.place, pack.reach))
}
