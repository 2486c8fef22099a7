//! What was written is read, listed and gone at once; what was not is missing.

use bytes::Bytes;
use futures::future::try_join_all;

use super::creation::settled;
use super::report::Finding;
use super::site::Site;
use super::{Checked, Refusal, unfit};
use crate::object::{Create, StoreError};

/// Numbered objects, as entries and checkpoints are.
const NUMBERED: usize = 12;
/// Names in folders, as the catalog has them.
const NAMED: [&str; 6] = ["team/a", "team/b%2Fc", "team-a/a", "team-a/dotted", "team0/a", "zeta/Z"];
/// A page that is smaller than what is listed.
const PAGE: usize = 4;

/// A missing key is missing, and not forbidden.
pub(super) async fn missing(site: &Site<'_>) -> Checked {
    match site.store.get(&site.key("missing")).await {
        Ok(None) => Ok(Finding::ok("a key that was never written is missing")),
        Ok(Some(_)) => unfit("it returns something for a key that was never written"),
        Err(StoreError::Refused { reason, .. }) => unfit(format!(
            "it does not answer 404 for a missing key ({reason}); without s3:ListBucket S3 answers 403 instead"
        )),
        Err(error) => Err(error.into()),
    }
}

/// What is created is read and listed right afterwards, also by a reader who was told a moment ago that it is missing.
pub(super) async fn read_after_write(site: &Site<'_>, times: usize) -> Checked {
    for number in 0..times {
        let (key, body) = (site.key(&format!("fresh/{number:020}")), Bytes::from(format!("object {number}")));
        if site.store.get(&key).await?.is_some() {
            return unfit("it returns something for a key that was never written");
        }
        if !settled(site.store, &key, &body).await? {
            return unfit("it refuses to create an object that does not exist");
        }
        match site.store.get(&key).await? {
            Some(found) if found == body => {}
            Some(_) => return unfit("what was written is not what is read back"),
            None => return unfit("it does not find an object right after its creation"),
        }
        let listed = site.store.list(&site.key("fresh/"), None, times + 1).await?;
        if !listed.iter().any(|object| object.key == key && object.size == body.len() as u64) {
            return unfit("it does not list an object right after its creation");
        }
    }
    Ok(Finding::ok(format!("{times} of {times} objects were read and listed right after their creation")))
}

/// Listings are whole, in order, and go on behind a key.
pub(super) async fn listing(site: &Site<'_>) -> Checked {
    let numbered: Vec<String> = (0..NUMBERED).map(|number| site.key(&format!("list/{number:020}"))).collect();
    let named: Vec<String> = NAMED.iter().map(|name| site.key(&format!("names/{name}"))).collect();
    let all = numbered.iter().chain(&named);
    try_join_all(all.map(|key| async move { settled(site.store, key, &Bytes::from(key.clone())).await })).await?;
    let prefix = site.key("list/");
    if keys(site, &prefix, None, NUMBERED * 2).await? != numbered {
        return unfit("a listing lacks objects, or has others, or is not in the order of the keys");
    }
    let half = NUMBERED / 2;
    if keys(site, &prefix, Some(&numbered[half - 1]), NUMBERED).await? != numbered[half..] {
        return unfit("a listing that should begin behind a key (start-after) does not");
    }
    if keys(site, &prefix, None, half).await? != numbered[..half] {
        return unfit("a listing gives more or fewer objects than were asked for (max-keys)");
    }
    let mut found = Vec::new();
    while let Some(page) =
        Some(keys(site, &site.key("names/"), found.last(), PAGE).await?).filter(|page| !page.is_empty())
    {
        found.extend(page);
        if found.len() > named.len() {
            return unfit("a listing in pages gives objects twice");
        }
    }
    found.sort();
    let mut named = named;
    named.sort();
    if found != named {
        return unfit("a listing in pages of objects in folders leaves some out");
    }
    Ok(Finding::ok("listings are whole and in order, go on behind a key, and come in pages"))
}

async fn keys(site: &Site<'_>, prefix: &str, after: Option<&String>, limit: usize) -> Result<Vec<String>, Refusal> {
    let objects = site.store.list(prefix, after.map(String::as_str), limit).await?;
    Ok(objects.into_iter().map(|object| object.key).collect())
}

/// What is deleted is gone at once, its key is free, and a second deletion is fine.
pub(super) async fn deletion(site: &Site<'_>) -> Checked {
    let (store, key) = (site.store, site.key("deleted"));
    if !settled(store, &key, &Bytes::from_static(b"first")).await? {
        return unfit("it refuses to create an object that does not exist");
    }
    store.delete(&key).await?;
    if store.get(&key).await?.is_some() {
        return unfit("an object is still read after its deletion");
    }
    if !store.list(&key, None, 1).await?.is_empty() {
        return unfit("an object is still listed after its deletion");
    }
    store.delete(&key).await?;
    match store.create(&key, Bytes::from_static(b"second")).await? {
        Create::Created => {}
        Create::Exists => return unfit("a key cannot be created again after its deletion"),
    }
    Ok(Finding::ok("a deleted object is gone at once, and its key is free"))
}
