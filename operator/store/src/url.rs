//! Store URLs: `file:DIR` and `s3://BUCKET[/PREFIX][?region=&endpoint=&path-style=&ca-file=&checksum=&lfs-direct=]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A folder.
    File {
        /// The folder.
        folder: PathBuf,
    },
    /// A bucket.
    S3(S3Url),
}

/// A bucket and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// Prefix of all keys, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The region; the standard chain decides without one.
    pub region: Option<String>,
    /// The endpoint, for stores other than AWS.
    pub endpoint: Option<Url>,
    /// Whether the bucket is part of the path and not of the host name.
    pub path_style: bool,
    /// A PEM file with the certificate authority of the endpoint.
    pub ca_file: Option<PathBuf>,
    /// Whether to send checksums always, and not only where the store needs them.
    pub checksum_always: bool,
    /// How Git LFS clients reach the bucket themselves; none when they do not (ADR 0017).
    pub lfs_direct: Option<ClientEndpoint>,
}

/// The address of a bucket for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEndpoint {
    /// That of the servers.
    Same,
    /// Another one of the same store.
    Other(Box<Url>),
}

/// Why a text is not a store URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Neither form.
    #[error("write file:DIR or s3://BUCKET[/PREFIX][?region=&endpoint=&path-style=true]")]
    Form,
    /// A parameter that does not exist.
    #[error("unknown parameter '{0}': region, endpoint, path-style, ca-file, checksum and lfs-direct are there")]
    Parameter(String),
    /// A parameter with a wrong value.
    #[error("the parameter '{0}' has a wrong value")]
    Value(&'static str),
    /// Credentials do not belong into a URL.
    #[error("credentials do not belong into the store URL: use the standard AWS chain")]
    Credentials,
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        if let Some(folder) = text.strip_prefix("file:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            if folder.is_empty() {
                return Err(StoreUrlError::Form);
            }
            return Ok(Self::File { folder: PathBuf::from(folder) });
        }
        let url = Url::parse(text).map_err(|_| StoreUrlError::Form)?;
        let bucket =
            url.host_str().filter(|bucket| url.scheme() == "s3" && !bucket.is_empty()).ok_or(StoreUrlError::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(StoreUrlError::Credentials);
        }
        let prefix = url.path().trim_matches('/');
        if prefix.split('/').any(|part| part == "." || part == "..") || prefix.contains("//") {
            return Err(StoreUrlError::Form);
        }
        let mut parsed = S3Url {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: None,
            endpoint: None,
            path_style: false,
            ca_file: None,
            checksum_always: false,
            lfs_direct: None,
        };
        for (name, value) in url.query_pairs() {
            parsed.set(&name, &value)?;
        }
        Ok(Self::S3(parsed))
    }
}

impl S3Url {
    fn set(&mut self, name: &str, value: &str) -> Result<(), StoreUrlError> {
        match name {
            "region" => self.region = Some(value.to_owned()),
            "endpoint" => self.endpoint = Some(endpoint(value).ok_or(StoreUrlError::Value("endpoint"))?),
            "path-style" => self.path_style = value.parse().map_err(|_| StoreUrlError::Value("path-style"))?,
            "ca-file" => self.ca_file = Some(PathBuf::from(value)),
            "checksum" => {
                self.checksum_always = match value {
                    "always" => true,
                    "when-required" => false,
                    _ => return Err(StoreUrlError::Value("checksum")),
                }
            }
            "lfs-direct" => {
                self.lfs_direct = match value {
                    "true" => Some(ClientEndpoint::Same),
                    "false" => None,
                    other => {
                        let url = endpoint(other).ok_or(StoreUrlError::Value("lfs-direct"))?;
                        Some(ClientEndpoint::Other(url.into()))
                    }
                }
            }
            other => return Err(StoreUrlError::Parameter(other.to_owned())),
        }
        Ok(())
    }

    /// The same bucket as clients reach it, if they do.
    pub(crate) fn for_clients(&self) -> Option<Self> {
        let endpoint = match self.lfs_direct.as_ref()? {
            ClientEndpoint::Same => self.endpoint.clone(),
            ClientEndpoint::Other(url) => Some(Url::clone(url)),
        };
        Some(Self { endpoint, ..self.clone() })
    }
}

fn endpoint(value: &str) -> Option<Url> {
    Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { folder } => write!(f, "file:{}", folder.display()),
            Self::S3(s3) if s3.prefix.is_empty() => write!(f, "s3://{}", s3.bucket),
            Self::S3(s3) => write!(f, "s3://{}/{}", s3.bucket, s3.prefix),
        }
    }
}

#[cfg(test)]
mod tests;
