//! Reads an LFS object or a part of it: a chunk at a time, each compared with its checksum before its first byte goes out.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};

use super::LfsObjects;
use super::sums::LfsObject;
use crate::error::Error;
use crate::keys;
use crate::object::{ObjectBytes, StoreError};

/// Times that a chunk is asked for.
const ATTEMPTS: u32 = 4;

/// A download under way.
struct Reading {
    objects: LfsObjects,
    object: LfsObject,
    /// What is still wanted.
    wanted: Range<u64>,
    /// What the bucket sends, from the start of the next chunk on, and what came with the last piece beyond a chunk.
    arriving: Option<(ObjectBytes, Bytes)>,
    /// What was verified and not taken yet, in the pieces in which it came: a copy would cost as much as the hash.
    ready: VecDeque<Bytes>,
}

impl LfsObjects {
    /// These bytes of an object, verified; memory does not depend on how many. What cannot be verified ends it with an error.
    pub fn read(
        &self,
        object: LfsObject,
        wanted: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let reading = Reading { objects: self.clone(), object, wanted, arriving: None, ready: VecDeque::new() };
        stream::try_unfold(reading, |mut reading| async move {
            loop {
                if let Some(piece) = reading.ready.pop_front() {
                    return Ok(Some((piece, reading)));
                }
                if reading.wanted.is_empty() {
                    return Ok(None);
                }
                reading.next().await?;
            }
        })
    }
}

impl Reading {
    /// Makes ready what is wanted of the next chunk.
    async fn next(&mut self) -> Result<(), Error> {
        let number = self.object.chunk_of(self.wanted.start);
        let key = keys::lfs(&self.objects.id, self.object.oid(), self.object.life());
        let Some((place, sum)) = self.object.chunk(number).map(|(place, sum)| (place, *sum)) else {
            return Err(Error::Damaged { key, reason: "it ends before the wanted bytes".to_owned() });
        };
        let mut attempt = 1;
        let chunk = loop {
            match self.fetch(&key, &place, &sum).await {
                Err(Error::Store(StoreError::Unavailable { .. })) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                    attempt += 1;
                    self.arriving = None;
                }
                outcome => break outcome?,
            }
        };
        let end = place.end.min(self.wanted.end);
        let mut at = place.start;
        for mut piece in chunk {
            let next = at + piece.len() as u64;
            let within = |offset: u64| usize::try_from(offset.clamp(at, next) - at).unwrap_or(usize::MAX);
            let (from, to) = (within(self.wanted.start), within(end));
            if from < to {
                piece.truncate(to);
                self.ready.push_back(piece.slice(from..));
            }
            at = next;
        }
        self.wanted.start = end;
        Ok(())
    }

    async fn fetch(&mut self, key: &str, place: &Range<u64>, sum: &[u8; 32]) -> Result<Vec<Bytes>, Error> {
        if self.arriving.is_none() {
            let last = self.object.chunk_of(self.wanted.end - 1);
            let end = self.object.chunk(last).map_or_else(|| self.object.size(), |(place, _)| place.end);
            let stream = self.objects.shared.store.stream(key, place.start..end, self.object.size()).await?;
            let stream = stream.ok_or_else(|| Error::Missing { key: key.to_owned() })?;
            self.arriving = Some((stream, Bytes::new()));
        }
        let (stream, rest) = self.arriving.as_mut().expect("because it was just set");
        let mut missing = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
        let (mut chunk, mut context) = (Vec::new(), Context::new(&SHA256));
        while missing > 0 {
            let mut piece = std::mem::take(rest);
            if piece.is_empty() {
                let early = || StoreError::Unavailable {
                    operation: "stream",
                    key: key.to_owned(),
                    reason: "it ended early".to_owned(),
                };
                piece = stream.next().await.ok_or_else(early)??;
            }
            let taken = piece.split_to(piece.len().min(missing));
            missing -= taken.len();
            context.update(&taken);
            chunk.push(taken);
            *rest = piece;
        }
        if context.finish().as_ref() != sum {
            let reason = format!("bytes {} to {} have changed", place.start, place.end);
            return Err(Error::Damaged { key: key.to_owned(), reason });
        }
        Ok(chunk)
    }
}
