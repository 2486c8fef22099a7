//! What only the proof and the test report of a bucket ask: single ranges, headers, requests of strangers and of clients. Nothing that
//! serves uses it.

use std::fmt;
use std::path::Path;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Builder, ConfigBag, Intercept, RequestChecksumCalculation, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::transfer::{patient, unavailable};
use super::{DirectLink, Failure, S3Store};
use crate::object::StoreError;

const AUTHORIZATION: &str = "authorization";
const CONTENT_LENGTH: &str = "content-length";

/// Who a request says it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// Us.
    Ours,
    /// Nobody: it is not signed.
    Nobodys,
    /// Us, by somebody who has not our secret: the signature does not fit.
    Forged,
}

/// How a store answered, whatever it answered.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    /// HTTP status.
    pub(crate) status: u16,
    /// S3's code of an error.
    pub(crate) code: String,
    /// The store's time, as it wrote it. Successes have none.
    pub(crate) date: Option<String>,
    /// What was said, for people.
    pub(crate) reason: String,
}

/// The answer to a request for a range.
#[derive(Debug)]
pub(crate) enum Ranged {
    /// Bytes, and what the store says they are (`Content-Range`); without it they are the whole object.
    Bytes(Bytes, Option<String>),
    /// The range is not in the object.
    Unsatisfiable,
}

/// What a HEAD says of an object beside its size.
#[derive(Debug)]
pub(crate) struct Description {
    /// Algorithm of the encryption by the store.
    pub(crate) encryption: Option<String>,
    /// Key of the encryption by the store.
    pub(crate) key_id: Option<String>,
    /// Version, where the bucket keeps old ones.
    pub(crate) version: Option<String>,
}

impl S3Store {
    /// Asks for an object as somebody; an error only when no answer came.
    pub(crate) async fn contact(&self, key: &str, signed: Signed) -> Result<Contact, StoreError> {
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key)).customize();
        let get = if signed == Signed::Ours { get } else { get.interceptor(Stranger(signed)) };
        let Err(error) = get.send().await else {
            return Ok(Contact { status: 200, code: String::new(), date: None, reason: "200".to_owned() });
        };
        let date = error.raw_response().and_then(|raw| raw.headers().get("date")).map(str::to_owned);
        let failure = Failure::of(&error);
        match failure.status {
            Some(status) => Ok(Contact { status, code: failure.code, date, reason: failure.reason }),
            None => Err(failure.during("get", key)),
        }
    }

    /// An object as it is named by who has it copied.
    pub(crate) fn copy_source(&self, key: &str) -> String {
        format!("/{}/{}", self.bucket, self.key(key))
    }

    /// Makes a request of a client with this body and these headers beside those of the link; an error only when no answer came.
    pub(crate) async fn follow(&self, way: Way<'_>, body: Bytes) -> Result<Answered, StoreError> {
        let (key, link) = (way.key, way.link);
        let follower = Follower {
            url: link.url.clone(),
            headers: if way.bare { Vec::new() } else { link.headers.clone() },
            more: way.more.map(|(name, value)| (name, value.to_owned())),
        };
        // What it asks for is in the link, which takes the place of all that is made here.
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key)).body(body.into()).customize();
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let Err(error) = put.interceptor(follower).config_override(once).send().await else {
            return Ok(Answered { status: 200, reason: "200".to_owned() });
        };
        let failure = Failure::of(&error);
        match failure.status {
            Some(status) => Ok(Answered { status, reason: failure.reason }),
            None => Err(failure.during("follow a link", key)),
        }
    }

    /// Reads one range, written as in the header `Range`.
    pub(crate) async fn get_range(&self, key: &str, range: &str) -> Result<Ranged, StoreError> {
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(key)).range(range);
        let got = match get.send().await.map_err(|error| Failure::of(&error)) {
            Ok(got) => got,
            Err(failure) if failure.status == Some(416) => return Ok(Ranged::Unsatisfiable),
            Err(failure) => return Err(failure.during("get a range", key)),
        };
        let said = got.content_range().map(str::to_owned);
        let body = got.body.collect().await.map_err(|error| unavailable("get a range", key, &error))?;
        Ok(Ranged::Bytes(body.into_bytes(), said))
    }

    /// What the store says of an object.
    pub(crate) async fn describe(&self, key: &str) -> Result<Description, StoreError> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.key(key)).send().await;
        let head = head.map_err(|error| Failure::of(&error).during("head", key))?;
        Ok(Description {
            encryption: head.server_side_encryption().map(|algorithm| algorithm.as_str().to_owned()),
            key_id: head.ssekms_key_id().map(str::to_owned),
            version: head.version_id().filter(|version| *version != "null").map(str::to_owned),
        })
    }

    /// Uploads a file as a stream whose checksum follows in a trailer, whatever the store URL says.
    pub(crate) async fn upload_with_trailer(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let body = ByteStream::from_path(file).await.map_err(|error| unavailable("upload", key, &error))?;
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key)).body(body);
        let checksums = Builder::new().request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
        let sent = put.customize().config_override(checksums).send().await;
        sent.map(drop).map_err(|error| Failure::of(&error).during("upload", key))
    }

    /// Begins an upload in parts, sends one and gives it up; tells whether it could still be completed afterwards.
    pub(crate) async fn abandon_upload(&self, key: &str, part: Bytes) -> Result<bool, StoreError> {
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(self.key(key)).send().await;
        let begun = begun.map_err(|error| Failure::of(&error).during("begin an upload", key))?;
        let upload = begun.upload_id().unwrap_or_default();
        let part = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(self.key(key))
            .upload_id(upload)
            .part_number(1)
            .body(part.into());
        let part = part.customize().config_override(patient()).send().await;
        let part = part.map_err(|error| Failure::of(&error).during("upload a part", key))?;
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(key)).upload_id(upload);
        abort.send().await.map_err(|error| Failure::of(&error).during("abort an upload", key))?;
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag().map(str::to_owned)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(self.key(key));
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        Ok(complete.upload_id(upload).multipart_upload(parts).send().await.is_ok())
    }

    /// Gives up all uploads in parts of an object: what one that was cut off leaves is paid for and not listed. Some stores list
    /// such uploads by the whole key only.
    pub(crate) async fn abandon_uploads(&self, key: &str) -> Result<(), StoreError> {
        let list = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(self.key(key)).send().await;
        let listed = list.map_err(|error| Failure::of(&error).during("list uploads", key))?;
        for upload in listed.uploads() {
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket);
            let abort =
                abort.set_key(upload.key().map(str::to_owned)).set_upload_id(upload.upload_id().map(str::to_owned));
            abort.send().await.map_err(|error| Failure::of(&error).during("abort an upload", key))?;
        }
        Ok(())
    }
}

/// A link as a client may follow it.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) key: &'a str,
    pub(crate) link: &'a DirectLink,
    /// Without the headers that were signed.
    pub(crate) bare: bool,
    /// With one more, which was not.
    pub(crate) more: Option<(&'static str, &'a str)>,
}

/// How a store answered a client.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) reason: String,
}

/// Puts a client's request in the place of ours, behind the signer.
struct Follower {
    url: String,
    headers: Vec<(String, String)>,
    more: Option<(&'static str, String)>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

impl Intercept for Follower {
    fn name(&self) -> &'static str {
        "follower"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.set_uri(self.url.clone())?;
        let headers = request.headers_mut();
        let ours: Vec<String> = headers.iter().map(|(name, _)| name.to_owned()).collect();
        for name in ours.iter().filter(|name| *name != CONTENT_LENGTH) {
            headers.remove(name.as_str());
        }
        let signed = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let more = self.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        // The client sends the length of what it sends.
        for (name, value) in signed.chain(more).filter(|(name, _)| name != CONTENT_LENGTH) {
            headers.insert(name, value);
        }
        Ok(())
    }
}

/// Makes a request a stranger's, behind the signer.
#[derive(Debug)]
struct Stranger(Signed);

impl Intercept for Stranger {
    fn name(&self) -> &'static str {
        "stranger"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        let signature = headers.remove(AUTHORIZATION).unwrap_or_default();
        match self.0 {
            Signed::Ours => drop(headers.insert(AUTHORIZATION, signature)),
            Signed::Nobodys => {}
            Signed::Forged => drop(headers.insert(AUTHORIZATION, forged(&signature))),
        }
        Ok(())
    }
}

/// The signature with its last digit exchanged: what a wrong secret would make, and never a right one.
fn forged(signature: &str) -> String {
    let mut forged = signature.to_owned();
    let last = forged.pop();
    forged.push(if last == Some('0') { '1' } else { '0' });
    forged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_signature_differs_in_its_last_digit() {
        assert_eq!(forged("Signature=ab0"), "Signature=ab1");
        assert_eq!(forged("Signature=abf"), "Signature=ab0");
    }
}
