//! Reads an LFS object or a part of it: a chunk at a time, each compared with its checksum before its first byte goes out.

use std::ops::Range;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
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
}

impl LfsObjects {
    /// These bytes of an object, verified; memory does not depend on how many. What cannot be verified ends it with an error.
    pub fn read(
        &self,
        object: LfsObject,
        wanted: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let reading = Reading { objects: self.clone(), object, wanted, arriving: None };
        stream::try_unfold(reading, |mut reading| async move {
            if reading.wanted.is_empty() {
                return Ok(None);
            }
            let bytes = reading.next().await?;
            Ok(Some((bytes, reading)))
        })
    }
}

impl Reading {
    /// What is wanted of the next chunk.
    async fn next(&mut self) -> Result<Bytes, Error> {
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
        let within = |offset: u64| usize::try_from(offset - place.start).unwrap_or(usize::MAX);
        let bytes = chunk.slice(within(self.wanted.start)..within(end));
        self.wanted.start = end;
        Ok(bytes)
    }

    async fn fetch(&mut self, key: &str, place: &Range<u64>, sum: &[u8; 32]) -> Result<Bytes, Error> {
        if self.arriving.is_none() {
            let last = self.object.chunk_of(self.wanted.end - 1);
            let end = self.object.chunk(last).map_or_else(|| self.object.size(), |(place, _)| place.end);
            let stream = self.objects.shared.store.stream(key, place.start..end, self.object.size()).await?;
            let stream = stream.ok_or_else(|| Error::Missing { key: key.to_owned() })?;
            self.arriving = Some((stream, Bytes::new()));
        }
        let (stream, rest) = self.arriving.as_mut().expect("because it was just set");
        let length = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
        let (mut chunk, mut context) = (BytesMut::with_capacity(length), Context::new(&SHA256));
        while chunk.len() < length {
            let mut piece = std::mem::take(rest);
            if piece.is_empty() {
                let early = || StoreError::Unavailable {
                    operation: "stream",
                    key: key.to_owned(),
                    reason: "it ended early".to_owned(),
                };
                piece = stream.next().await.ok_or_else(early)??;
            }
            let taken = piece.split_to(piece.len().min(length - chunk.len()));
            context.update(&taken);
            chunk.extend_from_slice(&taken);
            *rest = piece;
        }
        if context.finish().as_ref() != sum {
            let reason = format!("bytes {} to {} have changed", place.start, place.end);
            return Err(Error::Damaged { key: key.to_owned(), reason });
        }
        Ok(chunk.freeze())
    }
}
