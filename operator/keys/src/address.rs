//! Addresses of key services, as the command line has them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// Where a key service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyServiceUrl {
    /// `awskms://REGION[?endpoint=URL]`.
    AwsKms(KmsUrl),
    /// `vault+https://HOST[:PORT]/MOUNT[?role=ROLE][&auth=PATH][&namespace=NAME][&ca-file=FILE]`, of Vault or `OpenBao`; `vault+http` for tests.
    Transit(TransitUrl),
}

/// AWS KMS in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsUrl {
    /// The region.
    pub region: String,
    /// Where it is asked, if not at AWS.
    pub endpoint: Option<Url>,
}

/// A transit engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitUrl {
    /// Scheme, host and port of the server.
    pub server: Url,
    /// Where the engine is mounted, `transit` mostly.
    pub mount: String,
    /// The role to sign in as by the pod's `ServiceAccount`; without one a token is read from the folder of credentials.
    pub role: Option<String>,
    /// Where the Kubernetes auth method is mounted.
    pub auth: String,
    /// Namespace of an Enterprise server.
    pub namespace: Option<String>,
    /// Certificates that prove the server.
    pub ca_file: Option<PathBuf>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is no address of a key service: {reason}; write awskms://REGION[?endpoint=URL] or vault+https://HOST[:PORT]/MOUNT[?role=ROLE][&auth=PATH][&namespace=NAME][&ca-file=FILE]"
)]
pub struct UrlError {
    text: String,
    reason: String,
}

impl FromStr for KeyServiceUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        parse(text).map_err(|reason| UrlError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<KeyServiceUrl, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    match scheme {
        "awskms" => kms(text),
        "vault+https" => transit(&format!("https://{rest}")),
        "vault+http" => transit(&format!("http://{rest}")),
        other => Err(format!("the scheme '{other}' is not known")),
    }
}

fn kms(text: &str) -> Result<KeyServiceUrl, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let region = url.host_str().filter(|region| !region.is_empty()).ok_or("it names no region")?.to_owned();
    let mut endpoint = None;
    for (name, value) in url.query_pairs() {
        match &*name {
            "endpoint" => endpoint = Some(Url::parse(&value).map_err(|error| format!("the endpoint: {error}"))?),
            other => return Err(format!("the parameter '{other}' is not known")),
        }
    }
    Ok(KeyServiceUrl::AwsKms(KmsUrl { region, endpoint }))
}

fn transit(text: &str) -> Result<KeyServiceUrl, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into it".to_owned());
    }
    let mount = url.path().trim_matches('/').to_owned();
    if mount.is_empty() {
        return Err("it does not say where the transit engine is mounted".to_owned());
    }
    let (mut role, mut auth, mut namespace, mut ca_file) = (None, "kubernetes".to_owned(), None, None);
    for (name, value) in url.query_pairs() {
        let value = value.into_owned();
        match &*name {
            "role" => role = Some(value),
            "auth" => value.trim_matches('/').clone_into(&mut auth),
            "namespace" => namespace = Some(value),
            "ca-file" => ca_file = Some(value.into()),
            other => return Err(format!("the parameter '{other}' is not known")),
        }
    }
    url.set_path("");
    url.set_query(None);
    Ok(KeyServiceUrl::Transit(TransitUrl { server: url, mount, role, auth, namespace, ca_file }))
}

impl fmt::Display for KeyServiceUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsKms(KmsUrl { region, endpoint: None }) => write!(to, "AWS KMS in {region}"),
            Self::AwsKms(KmsUrl { region, endpoint: Some(endpoint) }) => {
                write!(to, "AWS KMS in {region} at {endpoint}")
            }
            Self::Transit(TransitUrl { server, mount, .. }) => write!(to, "the transit engine {mount} of {server}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let text = "vault+https://vault.vault.svc:8200/transit/?role=codekeep&auth=k8s&ca-file=/ca.pem&namespace=a";
        let Ok(KeyServiceUrl::Transit(url)) = text.parse() else { panic!("no address") };
        assert_eq!((url.server.as_str(), url.mount.as_str()), ("https://vault.vault.svc:8200/", "transit"));
        assert_eq!((url.role.as_deref(), url.auth.as_str()), (Some("codekeep"), "k8s"));
        assert_eq!((url.namespace.as_deref(), url.ca_file), (Some("a"), Some("/ca.pem".into())));
        let Ok(KeyServiceUrl::AwsKms(url)) = "awskms://eu-west-1?endpoint=http://127.0.0.1:5000".parse() else {
            panic!("no address")
        };
        assert_eq!(
            (url.region.as_str(), url.endpoint.map(|url| url.to_string())),
            ("eu-west-1", Some("http://127.0.0.1:5000/".to_owned()))
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "awskms",
            "awskms://",
            "awskms://eu-west-1?key=a",
            "vault+https://host",
            "vault+https://a:b@host/transit",
            "https://host/transit",
            "vault+https://host/transit?rôle=x",
        ] {
            assert!(text.parse::<KeyServiceUrl>().is_err(), "{text}");
        }
    }
}
