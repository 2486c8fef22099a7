//! Who somebody is, and what they may, when that changes or is not true.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use tests::manifests::PASSWORD;
use tests::raw_http::{Connection, base64, basic};
use tests::{Manifests, wait};

use super::{Call, WAYS, Way, clone_of, new_reference, say, shared};
use crate::ssh::SshBed;

/// A push that is open: its commands and half of its pack were sent.
enum Open {
    Http(Connection),
    Ssh(std::process::Child),
}

fn begin(bed: &SshBed, way: Way, bytes: &[u8]) -> Result<(Open, Vec<u8>)> {
    let (first, rest) = bytes.split_at(bytes.len() - 30);
    let open = match way {
        Way::Http => {
            let mut connection = Connection::open(bed.bed.server.address())?;
            let head = format!(
                "POST /team-a/hello/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {}\r\n\
                 Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
                basic("alice", PASSWORD),
                bytes.len()
            );
            connection.write(&[head.as_bytes(), first].concat())?;
            Open::Http(connection)
        }
        Way::Ssh => {
            let mut child = shared(bed, "alice", &Call::push("team-a/hello").command())?;
            child.stdin.as_mut().context("no input")?.write_all(first)?;
            Open::Ssh(child)
        }
    };
    Ok((open, rest.to_vec()))
}

fn finish(open: Open, rest: &[u8]) -> Result<String> {
    let mut told = Vec::new();
    match open {
        Open::Http(mut connection) => {
            connection.write(rest)?;
            connection.response()?.body.read_to_end(&mut told)?;
        }
        Open::Ssh(mut child) => {
            child.stdin.take().context("no input")?.write_all(rest)?;
            told = child.wait_with_output()?.stdout;
        }
    }
    Ok(String::from_utf8_lossy(&told).into_owned())
}

#[test]
fn what_is_taken_back_during_a_push_is_not_done_and_the_next_request_is_refused() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let tip = bed.bed.git.head(&work)?;
    let mut pack = super::pack::Pack::new();
    let blob = pack.object(super::pack::BLOB, b"something to send\n");
    let tree = pack.object(super::pack::TREE, &super::pack::tree_entry("100644", "file", &blob));
    let commit = pack.commit(&tree);
    let pack = pack.finish();
    for (way, other) in [(Way::Http, "refs/heads/other-a"), (Way::Ssh, "refs/heads/other-b")] {
        bed.bed.manifests.write("policies.yaml", Manifests::policies())?;
        wait::until("the grant", Duration::from_secs(10), || {
            let told = say(&bed, way, Call::push("team-a/hello"), b"0000")?;
            Ok((!String::from_utf8_lossy(&told).contains("was not found")).then_some(()))
        })?;
        let bytes = new_reference(&format!("refs/heads/late-{way:?}"), &commit, &pack);
        let (open, rest) = begin(&bed, way, &bytes)?;
        super::until_working(&bed, |working| working > 0.0, Duration::from_secs(10))?;
        // Until the commands were surely read.
        std::thread::sleep(Duration::from_millis(500));
        bed.bed.manifests.write("policies.yaml", &Manifests::policies().replace("name: alice", "name: nobody"))?;
        wait::until("the revocation", Duration::from_secs(10), || {
            let told = say(&bed, way, Call::fetch("team-a/hello"), &clone_of(&tip))?;
            let told = String::from_utf8_lossy(&told).into_owned();
            Ok((told.contains("was not found, or no AccessPolicy allows")).then_some(()))
        })?;
        let told = say(&bed, way, Call::push("team-a/hello"), &new_reference(other, &commit, &pack))?;
        ensure!(String::from_utf8_lossy(&told).contains("was not found"), "{way:?}: the next push");
        let told = finish(open, &rest)?;
        ensure!(told.contains(&format!("ng refs/heads/late-{way:?}")), "{way:?}: the open push is told {told}");
        ensure!(told.contains("AccessPolicy"), "{way:?}: {told}");
    }
    bed.bed.manifests.write("policies.yaml", Manifests::policies())?;
    wait::until("the grant", Duration::from_secs(10), || {
        Ok(bed.bed.git.remote_refs(&bed.bed.url()).ok().filter(|refs| !refs.contains("late")).map(drop))
    })
}

#[test]
fn a_credential_that_is_taken_back_during_a_push_commits_nothing() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let mut pack = super::pack::Pack::new();
    let blob = pack.object(super::pack::BLOB, b"something to send\n");
    let tree = pack.object(super::pack::TREE, &super::pack::tree_entry("100644", "file", &blob));
    let commit = pack.commit(&tree);
    let pack = pack.finish();
    for (way, secret) in [(Way::Http, "user-team-a-alice.yaml"), (Way::Ssh, "ssh-key-team-a-alice-laptop.yaml")] {
        let name = format!("refs/heads/late-{way:?}");
        let (open, rest) = begin(&bed, way, &new_reference(&name, &commit, &pack))?;
        super::until_working(&bed, |working| working > 0.0, Duration::from_secs(10))?;
        std::thread::sleep(Duration::from_millis(500));
        bed.bed.manifests.remove(secret)?;
        wait::until("the next request is refused", Duration::from_secs(10), || {
            let told = match way {
                Way::Http => bed.bed.git.run(&bed.bed.git.path(""), &["ls-remote", &bed.bed.url()])?.ok,
                Way::Ssh => bed.git("alice", &bed.bed.git.path(""), &["ls-remote", &bed.url()])?.ok,
            };
            Ok((!told).then_some(()))
        })?;
        let told = finish(open, &rest)?;
        ensure!(told.contains(&format!("ng {name} the credential of this push was taken back")), "{way:?}: {told}");
    }
    let names = bed.bed.git.remote_refs(&bed.bed.server.url("bob", "team-a/hello"))?;
    ensure!(names.contains("main") && !names.contains("late"), "{names}");
    Ok(())
}

#[test]
fn an_lfs_object_is_not_kept_when_the_grant_is_taken_back_while_it_comes() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let content = vec![7; 1 << 20];
    let oid = super::pack::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content).as_ref());
    let authorization = basic("alice", PASSWORD);
    let mut connection = Connection::open(bed.bed.server.address())?;
    let head = format!(
        "PUT /team-a/hello/info/lfs/objects/{oid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: {authorization}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    connection.write(&[head.as_bytes(), &content[..content.len() - 30]].concat())?;
    std::thread::sleep(Duration::from_millis(500));
    bed.bed.manifests.write("policies.yaml", &Manifests::policies().replace("name: alice", "name: nobody"))?;
    let refs = || bed.bed.git.run(&bed.bed.git.path(""), &["ls-remote", &bed.bed.url()]);
    wait::until("the revocation", Duration::from_secs(10), || Ok((!refs()?.ok).then_some(())))?;
    connection.write(&content[content.len() - 30..])?;
    let answer = connection.response()?;
    ensure!(answer.status == 403 || answer.status == 404, "{}", answer.status);
    bed.bed.manifests.write("policies.yaml", Manifests::policies())?;
    wait::until("the grant", Duration::from_secs(10), || Ok(refs()?.ok.then_some(())))?;
    let path = format!("/team-a/hello/info/lfs/objects/{oid}");
    let headers = [("Authorization", &*authorization)];
    let found = tests::raw_http::send(bed.bed.server.address(), "GET", &path, &headers, b"")?;
    ensure!(found.status == 404, "the object is there: {}", found.status);
    Ok(())
}

#[test]
fn a_clone_under_way_ends_and_the_next_is_refused_when_a_grant_is_taken_back() -> Result<()> {
    let bed = SshBed::new()?;
    let source = crate::memory::large(&bed.bed, 12)?;
    bed.bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.bed.url()])?;
    let tip = bed.bed.git.ok(&source, &["rev-parse", "main"])?.trim().to_owned();
    let mut readers =
        WAYS.map(|way| super::stalled::clone_unread(&bed, way, &tip)).into_iter().collect::<Result<Vec<_>>>()?;
    super::until_working(&bed, |working| working > 1.5, Duration::from_secs(10))?;
    bed.bed.manifests.write("policies.yaml", &Manifests::policies().replace("name: alice", "name: nobody"))?;
    for way in WAYS {
        wait::until("the revocation", Duration::from_secs(10), || {
            let told = say(&bed, way, Call::fetch("team-a/hello"), &clone_of(&tip))?;
            Ok(String::from_utf8_lossy(&told).contains("was not found").then_some(()))
        })?;
    }
    // What they were given leave to read when they asked, they read to its end.
    for reader in &mut readers {
        ensure!(reader.read_all()? > 12_000_000, "a clone was cut");
    }
    Ok(())
}

/// Fields of the agent's and of the keys' formats: a length and bytes.
fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("because it is short");
    [&length.to_be_bytes(), bytes].concat()
}

/// An agent that offers one key and signs with another.
fn lie(mut client: UnixStream, offered: &[u8], signing: &Ed25519KeyPair) -> Result<()> {
    loop {
        let mut length = [0; 4];
        if client.read_exact(&mut length).is_err() {
            return Ok(());
        }
        let mut message = vec![0; usize::try_from(u32::from_be_bytes(length))?];
        client.read_exact(&mut message)?;
        let answer = match message.first() {
            // Identities.
            Some(11) => [&[12_u8, 0, 0, 0, 1], &*field(offered), &*field(b"alice")].concat(),
            // A signature over what comes after the key.
            Some(13) => {
                let at = 1 + 4 + offered.len();
                let size = u32::from_be_bytes(message.get(at..at + 4).context("no data")?.try_into()?);
                let data = message.get(at + 4..at + 4 + usize::try_from(size)?).context("no data")?;
                let signature = [field(b"ssh-ed25519"), field(signing.sign(data).as_ref())].concat();
                [&[14_u8], &*field(&signature)].concat()
            }
            _ => vec![5],
        };
        client.write_all(&field(&answer))?;
    }
}

/// The blob of a public key.
fn blob(key: &[u8]) -> Vec<u8> {
    [field(b"ssh-ed25519"), field(key)].concat()
}

#[test]
fn a_key_that_is_offered_and_not_proven_is_nobodys() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    // Erin's key, which is known; the private half is here, so that the honest case can be tried too.
    let (erin, mallory) = (Ed25519KeyPair::generate()?, Ed25519KeyPair::generate()?);
    let offered = blob(erin.public_key().as_ref());
    let line = format!("ssh-ed25519 {} erin", base64(&offered));
    bed.bed.manifests.ssh_key("team-a", "alice", "erin", &line)?;
    std::fs::write(bed.ssh.path("erin.pub"), &line)?;
    for (signing, is_let_in) in [(erin, true), (mallory, false)] {
        let socket = bed.ssh.path(&format!("agent-{is_let_in}"));
        let (listener, offered) = (UnixListener::bind(&socket)?, offered.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            listener.incoming().map_while(Result::ok).for_each(|client| drop(lie(client, &offered, &signing)));
        });
        let agent = format!("IdentityAgent={}", socket.display());
        let words = bed.ssh.words("erin.pub").into_iter();
        let words: Vec<String> =
            words.map(|word| if word == "IdentityAgent=none" { agent.clone() } else { word }).collect();
        let setting = format!("core.sshCommand={}", words.join(" "));
        let ask = || bed.bed.git.run(&bed.bed.git.path(""), &["-c", &setting, "ls-remote", &bed.url()]);
        if is_let_in {
            wait::until("erin's key", Duration::from_secs(10), || Ok(ask()?.ok.then_some(())))?;
        } else {
            let told = ask()?.refused()?;
            ensure!(told.contains("Permission denied (publickey)"), "{told}");
        }
    }
    Ok(())
}
