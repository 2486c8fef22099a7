//! AWS KMS as moto plays it: keys, contexts and ciphertexts are real enough, the state of keys is not heeded.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::server::free_address;
use crate::{binary, python, raw_http, wait};

/// A running moto; killed when dropped.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Moto {
    /// Starts a server and waits for it.
    pub fn start() -> Result<Self> {
        let (folder, address) = (TempDir::new()?, free_address()?);
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(binary::python().with_file_name("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.context("failed to start moto: `cargo xtask tools` installs it")?;
        let moto = Self { child, address, folder };
        wait::until("moto", Duration::from_mins(1), || {
            Ok(raw_http::get(address, "/moto-api/").ok().filter(|response| response.status == 200))
        })?;
        Ok(moto)
    }

    /// Makes a key and gives its id.
    pub fn key(&self) -> Result<String> {
        let script = "import boto3, sys\n\
            kms = boto3.client('kms', endpoint_url=sys.argv[1], region_name='eu-west-1', aws_access_key_id='a', aws_secret_access_key='b')\n\
            print(kms.create_key()['KeyMetadata']['KeyId'])";
        python::run(script, &[&format!("http://{}", self.address)], self.folder.path())
    }

    /// Its address as a key service.
    #[must_use]
    pub fn key_service(&self) -> String {
        format!("awskms://eu-west-1?endpoint=http://{}", self.address)
    }

    /// Kills the server: KMS is away from now on.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
