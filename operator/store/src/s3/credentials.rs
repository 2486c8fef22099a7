//! Access keys in a folder, one file each, as a mounted Secret has them: read again, so that keys are exchanged without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_config::meta::credentials::CredentialsProviderChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};

/// How long keys are used before the files are read again.
const FRESH: Duration = Duration::from_secs(30);

/// The keys of a folder that has them, and of the standard chain otherwise.
pub async fn folder_credentials(folder: &Path) -> CredentialsProviderChain {
    let folder = FolderCredentials { folder: folder.to_owned() };
    CredentialsProviderChain::first_try("folder", folder).or_default_provider().await
}

/// Files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there is one, `AWS_SESSION_TOKEN`.
#[derive(Debug)]
struct FolderCredentials {
    folder: PathBuf,
}

impl FolderCredentials {
    async fn read(&self) -> provider::Result {
        // Kubernetes exchanges this link, so that all files of one version are read.
        let version = tokio::fs::canonicalize(self.folder.join("..data")).await;
        let folder = version.as_deref().unwrap_or(&self.folder);
        let read = async |name: &str| match tokio::fs::read_to_string(folder.join(name)).await {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Keys that cannot be read are not the same as none: others must not take their place unseen.
            Err(error) => Err(CredentialsError::provider_error(error)),
        };
        let (Some(key), Some(secret)) = (read("AWS_ACCESS_KEY_ID").await?, read("AWS_SECRET_ACCESS_KEY").await?) else {
            return Err(CredentialsError::not_loaded("the folder has no access key"));
        };
        let token = read("AWS_SESSION_TOKEN").await?;
        Ok(Credentials::new(key, secret, token, Some(SystemTime::now() + FRESH), "folder"))
    }
}

impl ProvideCredentials for FolderCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_read_anew_and_of_one_version() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::TempDir::new()?;
        let credentials = FolderCredentials { folder: folder.path().to_owned() };
        assert!(matches!(credentials.read().await, Err(CredentialsError::CredentialsNotLoaded(_))));
        for (version, token) in [("1", None), ("2", Some("session"))] {
            let files = folder.path().join(format!("..{version}"));
            std::fs::create_dir(&files)?;
            std::fs::write(files.join("AWS_ACCESS_KEY_ID"), format!("key{version}\n"))?;
            std::fs::write(files.join("AWS_SECRET_ACCESS_KEY"), format!("secret{version}"))?;
            token.map_or(Ok(()), |token| std::fs::write(files.join("AWS_SESSION_TOKEN"), token))?;
            let link = folder.path().join("..data");
            let _first = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&files, &link)?;
            let read = credentials.read().await?;
            assert_eq!(read.access_key_id(), format!("key{version}"));
            assert_eq!((read.secret_access_key(), read.session_token()), (format!("secret{version}").as_str(), token));
            assert!(read.expiry() > Some(SystemTime::now()));
        }
        let key = folder.path().join("..2/AWS_ACCESS_KEY_ID");
        std::fs::remove_file(&key)?;
        std::fs::create_dir(&key)?;
        assert!(
            matches!(credentials.read().await, Err(CredentialsError::ProviderError(_))),
            "not another's keys instead"
        );
        Ok(())
    }
}
