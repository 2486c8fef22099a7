//! Whole objects: small ones in memory, packs between bucket and files.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::{ATTEMPTS, Failure, S3Store};
use crate::object::{ObjectBytes, StoreError};

/// Objects from this size on go up in parts, and come down in ranges.
pub(crate) const PART_BYTES: u64 = 32 << 20;
/// Parts under way of one object.
const PARTS: usize = 4;
/// HTTP: the object ends before the range begins.
const RANGE_NOT_SATISFIABLE: u16 = 416;
/// Longest silence in a download.
const STALL: Duration = Duration::from_secs(30);

impl S3Store {
    /// A request that writes an object, encrypted as it has to be.
    pub(super) fn put_object(&self, key: &str) -> PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key));
        match &self.kms_key_id {
            Some(id) => {
                put.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(id).bucket_key_enabled(true)
            }
            None => put,
        }
    }

    pub(super) async fn get_whole(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let got = match self.client.get_object().bucket(&self.bucket).key(self.key(key)).send().await {
                Ok(got) => got,
                Err(error) => return missing_or(Failure::of(&error), "get", key),
            };
            let length = got.content_length().and_then(|length| u64::try_from(length).ok());
            match got.body.collect().await.map(aws_sdk_s3::primitives::AggregatedBytes::into_bytes) {
                Ok(bytes) if length.is_none_or(|length| length == bytes.len() as u64) => return Ok(Some(bytes)),
                Ok(bytes) if attempt >= ATTEMPTS => return Err(truncated("get", key, bytes.len() as u64)),
                Err(error) if attempt >= ATTEMPTS => return Err(unavailable("get", key, &error)),
                _ => tokio::time::sleep(Duration::from_millis(50 << attempt)).await,
            }
        }
    }

    pub(super) async fn upload_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let timer = self.metrics.start("upload");
        let outcome = self.upload_parts_or_whole(key, file).await;
        timer.finish(if outcome.is_ok() { "ok" } else { "error" });
        outcome
    }

    async fn upload_parts_or_whole(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let size = tokio::fs::metadata(file).await.map_err(|error| unavailable("upload", key, &error))?.len();
        if size > PART_BYTES {
            return self.upload_parts(key, file, size).await;
        }
        let _permit = self.permit().await;
        let body = ByteStream::from_path(file).await.map_err(|error| unavailable("upload", key, &error))?;
        self.put_object(key)
            .body(body)
            .customize()
            .config_override(patient())
            .send()
            .await
            .map(drop)
            .map_err(|error| Failure::of(&error).during("upload", key))
    }

    async fn upload_parts(&self, key: &str, file: &Path, size: u64) -> Result<(), StoreError> {
        let create = self.client.create_multipart_upload().bucket(&self.bucket).key(self.key(key));
        let create = match &self.kms_key_id {
            Some(id) => create.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(id),
            None => create,
        };
        let created = create.send().await.map_err(|error| Failure::of(&error).during("upload", key))?;
        let Some(upload) = created.upload_id() else { return Err(truncated("upload", key, 0)) };
        let starts = (0..size).step_by(usize::try_from(PART_BYTES).unwrap_or(usize::MAX)).zip(1_i32..);
        let parts: Result<Vec<CompletedPart>, StoreError> = stream::iter(starts)
            .map(|(start, number)| self.upload_part(key, file, upload, (number, start, PART_BYTES.min(size - start))))
            .buffered(PARTS)
            .try_collect()
            .await;
        let completed = match parts {
            Ok(parts) => {
                let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
                let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(self.key(key));
                let sent = complete.upload_id(upload).multipart_upload(parts).send().await;
                sent.map(drop).map_err(|error| Failure::of(&error).during("upload", key))
            }
            Err(error) => Err(error),
        };
        if completed.is_err() {
            // The answer may have been lost and the SDK's next try told that there is no such upload.
            if self.has_size(key, size).await {
                return Ok(());
            }
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
            if let Err(error) = abort.send().await {
                tracing::warn!(
                    object.key = key,
                    reason = Failure::of(&error).during("abort", key).to_string(),
                    "parts of a failed upload may be left"
                );
            }
        }
        completed
    }

    async fn has_size(&self, key: &str, size: u64) -> bool {
        let head = self.client.head_object().bucket(&self.bucket).key(self.key(key)).send().await;
        head.is_ok_and(|head| head.content_length().and_then(|length| u64::try_from(length).ok()) == Some(size))
    }

    /// Uploads one part, given as number, offset and length.
    async fn upload_part(
        &self,
        key: &str,
        file: &Path,
        upload: &str,
        part: (i32, u64, u64),
    ) -> Result<CompletedPart, StoreError> {
        let (number, start, length) = part;
        let _permit = self.permit().await;
        let body = ByteStream::read_from().path(file).offset(start).length(Length::Exact(length)).build().await;
        let body = body.map_err(|error| unavailable("upload", key, &error))?;
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(self.key(key))
            .upload_id(upload)
            .part_number(number)
            .body(body)
            .customize()
            .config_override(patient())
            .send()
            .await
            .map_err(|error| Failure::of(&error).during("upload", key))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build())
    }

    pub(super) async fn download_file(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        let timer = self.metrics.start("download");
        let outcome = self.download_ranges(key, file, size).await;
        timer.finish(downloaded(&outcome));
        outcome
    }

    /// The size is known beforehand, so the first request already brings bytes.
    async fn download_ranges(&self, key: &str, file: &Path, size: u64) -> Result<bool, StoreError> {
        // Under a name of its own until it is whole: a crash must not leave a file that looks complete.
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        let part =
            tempfile::NamedTempFile::new_in(folder).map_err(|error| full_or_unavailable(key, &error))?.into_temp_path();
        let target = File::options().write(true).open(&part).await.map_err(|error| full_or_unavailable(key, &error))?;
        target.set_len(size).await.map_err(|error| full_or_unavailable(key, &error))?;
        let starts = (0..size).step_by(usize::try_from(PART_BYTES).unwrap_or(usize::MAX));
        let mut parts = stream::iter(starts)
            .map(|start| self.download_part(key, &part, (start, PART_BYTES.min(size - start), size)))
            .buffer_unordered(PARTS);
        while let Some(is_there) = parts.try_next().await? {
            if !is_there {
                return Ok(false);
            }
        }
        drop(parts);
        if size == 0 {
            match self.get_whole(key).await? {
                None => return Ok(false),
                Some(found) if !found.is_empty() => return Err(StoreError::other_size(key, 0, found.len() as u64)),
                Some(_) => {}
            }
        }
        part.persist(file).map_err(|error| full_or_unavailable(key, &error.error))?;
        Ok(true)
    }

    /// Downloads one range, given as offset, length and size of the whole; false when there is no object.
    pub(super) async fn download_part(
        &self,
        key: &str,
        file: &Path,
        range: (u64, u64, u64),
    ) -> Result<bool, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_download_part(key, file, range).await {
                Err(StoreError::Unavailable { .. }) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_download_part(&self, key: &str, file: &Path, range: (u64, u64, u64)) -> Result<bool, StoreError> {
        let (start, length, size) = range;
        let _permit = self.permit().await;
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key));
        let ranged = get.range(format!("bytes={start}-{}", start + length - 1));
        let got = match ranged.customize().config_override(patient()).send().await {
            Ok(got) => got,
            Err(error) => {
                let failure = Failure::of(&error);
                if failure.status == Some(RANGE_NOT_SATISFIABLE) {
                    return Err(StoreError::other_size(key, size, start));
                }
                return missing_or(failure, "download", key).map(|found: Option<()>| found.is_some());
            }
        };
        if let Some(whole) = got.content_range().and_then(whole_size).filter(|whole| *whole != size) {
            return Err(StoreError::other_size(key, size, whole));
        }
        let io = |error: std::io::Error| full_or_unavailable(key, &error);
        let mut target = File::options().write(true).open(file).await.map_err(io)?;
        target.seek(SeekFrom::Start(start)).await.map_err(io)?;
        let (mut body, mut seen) = (got.body, 0);
        loop {
            let next = tokio::time::timeout(STALL, body.try_next()).await;
            let Some(chunk) = next
                .map_err(|stalled| unavailable("download", key, &stalled))?
                .map_err(|error| unavailable("download", key, &error))?
            else {
                break;
            };
            seen += chunk.len() as u64;
            if seen > length {
                return Err(truncated("download", key, seen));
            }
            target.write_all(&chunk).await.map_err(io)?;
        }
        target.flush().await.map_err(io)?;
        if seen == length { Ok(true) } else { Err(truncated("download", key, seen)) }
    }
}

/// Bytes for whoever does not keep them.
impl S3Store {
    pub(super) async fn stream_range(
        &self,
        key: &str,
        range: Range<u64>,
        size: u64,
    ) -> Result<Option<ObjectBytes>, StoreError> {
        // Only until the answer begins: who takes the bytes may be slow.
        let _permit = self.permit().await;
        let mut get = self.client.get_object().bucket(&self.bucket).key(self.key(key));
        // There is no way to ask for no bytes.
        if !range.is_empty() {
            get = get.range(format!("bytes={}-{}", range.start, range.end - 1));
        }
        let got = match get.customize().config_override(patient()).send().await {
            Ok(got) => got,
            Err(error) => {
                let failure = Failure::of(&error);
                if failure.status == Some(RANGE_NOT_SATISFIABLE) {
                    return Err(StoreError::other_size(key, size, range.start));
                }
                return missing_or(failure, "stream", key);
            }
        };
        if let Some(whole) = got.content_range().and_then(whole_size).filter(|whole| *whole != size) {
            return Err(StoreError::other_size(key, size, whole));
        }
        let pieces = stream::try_unfold((got.body, key.to_owned()), |(mut body, key)| async move {
            let next = tokio::time::timeout(STALL, body.try_next()).await;
            let next = next.map_err(|stalled| unavailable("stream", &key, &stalled))?;
            let piece = next.map_err(|error| unavailable("stream", &key, &error))?;
            Ok(piece.map(|piece| (piece, (body, key))))
        });
        Ok(Some(pieces.boxed()))
    }
}

/// How a download is counted.
pub(super) fn downloaded(outcome: &Result<bool, StoreError>) -> &'static str {
    match outcome {
        Ok(true) => "ok",
        Ok(false) => "missing",
        Err(_) => "error",
    }
}

/// The size of the object in `bytes 0-9/100`.
fn whole_size(content_range: &str) -> Option<u64> {
    content_range.rsplit('/').next()?.parse().ok()
}

/// Time-outs for transfers whose length depends on their size: the guard is against silence.
pub(super) fn patient() -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().disable_operation_attempt_timeout().build())
}

fn missing_or<T>(failure: Failure, operation: &'static str, key: &str) -> Result<Option<T>, StoreError> {
    if failure.status == Some(404) && !failure.is_missing_bucket() {
        Ok(None)
    } else {
        Err(failure.during(operation, key))
    }
}

fn truncated(operation: &'static str, key: &str, seen: u64) -> StoreError {
    let reason = format!("the body ended after {seen} bytes, which is not what was announced");
    StoreError::Unavailable { operation, key: key.to_owned(), reason }
}

pub(super) fn unavailable(operation: &'static str, key: &str, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable { operation, key: key.to_owned(), reason: error.to_string() }
}

fn full_or_unavailable(key: &str, error: &std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Full { operation: "download", key: key.to_owned() },
        _ => unavailable("download", key, error),
    }
}
