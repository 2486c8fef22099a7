//! A sorted table of references that is used as it lies: looked up in the bytes that came from the bucket, never decoded.
//!
//! ```text
//! "CKREFS\0"  1 where ids are of SHA-1 and take 20 bytes, 2 where they are of SHA-256 and take 32  u32 references  u32 annotated tags
//! for each reference: object id  u32 end of its name  u32 number of what it peels to, from 1; 0 if it is no tag
//! for each tag: what it peels to
//! for each object above, sorted by it: u32 number of its reference, from 0; highest bit: it is what that reference peels to
//! the names, one after the other, in byte order
//! SHA-256 of all before
//! ```
//!
//! Numbers are big endian. Whoever names a table names its SHA-256 too.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use gix::bstr::ByteSlice as _;
use model::{ObjectFormat, ObjectId, RefValue, Reference};

use crate::digest::sha256;
use crate::entry::EntryError;

const MAGIC: [u8; 7] = *b"CKREFS\0";
const VERSIONS: [(u8, ObjectFormat); 2] = [(1, ObjectFormat::Sha1), (2, ObjectFormat::Sha256)];
const COUNTS: usize = MAGIC.len() + 1;
const HEADER: usize = COUNTS + 8;
const DIGEST: usize = 32;
/// In the index: the object is what the reference peels to.
const PEELED: u32 = 1 << 31;

/// A table; a clone shares its bytes.
#[derive(Clone)]
pub(crate) struct Table {
    bytes: Bytes,
    digest: [u8; DIGEST],
    /// Bytes of an id.
    id: usize,
    references: usize,
    tags: usize,
}

impl Table {
    /// The bytes of a table of references that come in byte order; `None` when they do not fit into the format.
    pub(crate) fn encode<'a>(references: impl Iterator<Item = Reference<'a>>) -> Option<Bytes> {
        let (mut records, mut peeled, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut index: Vec<(ObjectId, u32)> = Vec::new();
        let mut format = None;
        let mut is_alike = |id: &ObjectId| *format.get_or_insert_with(|| id.kind()) == id.kind();
        for (number, reference) in (0..PEELED).zip(references) {
            if !is_alike(&reference.id) || !reference.peeled.as_ref().is_none_or(&mut is_alike) {
                return None;
            }
            names.extend_from_slice(reference.name);
            records.extend_from_slice(reference.id.as_slice());
            records.extend_from_slice(&u32::try_from(names.len()).ok()?.to_be_bytes());
            index.push((reference.id, number));
            if let Some(target) = reference.peeled {
                peeled.extend_from_slice(target.as_slice());
                index.push((target, number | PEELED));
            }
            let tag = if reference.peeled.is_some() { peeled.len() / reference.id.as_slice().len() } else { 0 };
            records.extend_from_slice(&u32::try_from(tag).ok()?.to_be_bytes());
        }
        index.sort_unstable();
        let format = format.unwrap_or(ObjectFormat::Sha1);
        let id = format.len_in_bytes();
        let count = |length: usize| u32::try_from(length).map(u32::to_be_bytes).ok();
        let size = HEADER + records.len() + peeled.len() + 4 * index.len() + names.len() + DIGEST;
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend(VERSIONS.iter().filter(|(_, known)| *known == format).map(|(version, _)| version));
        bytes.extend_from_slice(&count(records.len() / (id + 8))?);
        bytes.extend_from_slice(&count(peeled.len() / id)?);
        bytes.extend_from_slice(&records);
        bytes.extend_from_slice(&peeled);
        bytes.extend(index.iter().flat_map(|(_, number)| number.to_be_bytes()));
        bytes.extend_from_slice(&names);
        let digest = sha256(&bytes);
        bytes.extend_from_slice(&digest);
        Some(bytes.into())
    }

    /// Takes the bytes of a table; any byte that changed is noticed.
    pub(crate) fn open(bytes: Bytes) -> Result<Self, EntryError> {
        let end = bytes.len().checked_sub(DIGEST).filter(|end| *end >= HEADER).ok_or(EntryError::Frame("too short"))?;
        let version = VERSIONS.iter().find(|(version, _)| bytes[MAGIC.len()] == *version);
        let (true, Some((_, format))) = (bytes.starts_with(&MAGIC), version) else {
            return Err(EntryError::Frame("wrong magic"));
        };
        let digest = sha256(&bytes[..end]);
        if bytes[end..] != digest {
            return Err(EntryError::Checksum);
        }
        let (references, tags) = (word(&bytes, COUNTS), word(&bytes, COUNTS + 4));
        let table = Self { bytes, digest, id: format.len_in_bytes(), references, tags };
        if table.is_sound(end) { Ok(table) } else { Err(EntryError::Frame("wrong lengths")) }
    }

    /// Invariant: whatever the table points at lies inside it.
    fn is_sound(&self, end: usize) -> bool {
        let Some(names) = end.checked_sub(self.names()) else { return false };
        let mut last = 0;
        let mut record_fits = |number| {
            let before = std::mem::replace(&mut last, word(&self.bytes, self.record(number) + self.id));
            before <= last && self.tag(number) <= self.tags
        };
        let entry_fits = |at| {
            let (number, is_peeled) = self.entry(at);
            number < self.references && (!is_peeled || self.tag(number) > 0)
        };
        (0..self.references).all(&mut record_fits) && last == names && (0..self.references + self.tags).all(entry_fits)
    }

    /// The SHA-256 that ends it.
    pub(crate) fn digest(&self) -> [u8; DIGEST] {
        self.digest
    }

    /// How many references it has.
    pub(crate) fn len(&self) -> usize {
        self.references
    }

    /// The value of a reference.
    pub(crate) fn get(&self, name: &[u8]) -> Option<RefValue> {
        let at = self.first_not(|found| found < name);
        (at < self.references && self.name(at) == name).then(|| self.value(at))
    }

    /// The references whose names start with `prefix`.
    pub(crate) fn range(&self, prefix: &[u8]) -> impl Iterator<Item = Reference<'_>> {
        let first = self.first_not(|name| name < prefix);
        let end = self.first_not(|name| name < prefix || name.starts_with(prefix));
        (first..end).map(|number| self.reference(number))
    }

    /// The references that point at this object, or peel to it.
    pub(crate) fn leading_to(&self, id: &ObjectId) -> impl Iterator<Item = Reference<'_>> {
        let entries = self.references + self.tags;
        let first = partition(0..entries, |at| self.object(at).cmp(id) == Ordering::Less);
        let found = (first..entries).take_while(move |at| self.object(*at) == *id);
        found.map(|at| self.reference(self.entry(at).0))
    }

    fn reference(&self, number: usize) -> Reference<'_> {
        let RefValue { id, peeled } = self.value(number);
        Reference { name: self.name(number).as_bstr(), id, peeled }
    }

    fn value(&self, number: usize) -> RefValue {
        let tag = self.tag(number).checked_sub(1);
        RefValue { id: self.id(self.record(number)), peeled: tag.map(|tag| self.id(self.peeled() + tag * self.id)) }
    }

    fn name(&self, number: usize) -> &[u8] {
        let names = self.names();
        let end_of = |number| word(&self.bytes, self.record(number) + self.id);
        let start = number.checked_sub(1).map_or(0, end_of);
        &self.bytes[names + start..names + end_of(number)]
    }

    /// The first reference whose name is not `before`.
    fn first_not(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        partition(0..self.references, |number| before(self.name(number)))
    }

    /// What the tag of a reference is called among the tags, from 1; 0 for none.
    fn tag(&self, number: usize) -> usize {
        word(&self.bytes, self.record(number) + self.id + 4)
    }

    /// The reference in a place of the index, and whether it is there for what it peels to.
    fn entry(&self, at: usize) -> (usize, bool) {
        let number = word(&self.bytes, self.index() + 4 * at);
        let flag = PEELED as usize;
        (number & !flag, number & flag != 0)
    }

    /// The object in a place of the index.
    fn object(&self, at: usize) -> ObjectId {
        let (number, is_peeled) = self.entry(at);
        if is_peeled { self.id(self.peeled() + (self.tag(number) - 1) * self.id) } else { self.id(self.record(number)) }
    }

    fn id(&self, at: usize) -> ObjectId {
        ObjectId::try_from(&self.bytes[at..at + self.id]).expect("because the lengths were checked")
    }

    /// Where a reference's record begins.
    fn record(&self, number: usize) -> usize {
        HEADER + number * (self.id + 8)
    }

    fn peeled(&self) -> usize {
        self.record(self.references)
    }

    fn index(&self) -> usize {
        self.peeled() + self.tags * self.id
    }

    fn names(&self) -> usize {
        self.index() + 4 * (self.references + self.tags)
    }
}

fn word(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word) as usize)
}

/// The first number that is not `before`; all that are come first.
fn partition(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let Range { mut start, mut end } = range;
    while start < end {
        let middle = start + (end - start) / 2;
        if before(middle) {
            start = middle + 1;
        } else {
            end = middle;
        }
    }
    start
}
