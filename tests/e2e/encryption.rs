//! Encrypted repositories: what is in the store, and what becomes of them when their keys change or are gone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tests::moto::Moto;
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions, fixture, python, wait};

use crate::bed::{Bed, REPOSITORY};
use crate::lfs;

const FIRST: &str = "q83vEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJo=";
const SECOND: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// What a git client reads.
const LOCKED: &str = "the encryption key of this repository cannot be used";

/// Writes the Repository of most stories, encrypted as `envelope` says.
fn repository(manifests: &Manifests, encryption: &str) -> Result<()> {
    let text = format!(
        "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: hello, namespace: team-a}}\n\
         spec:\n  objectFormat: {}\n  encryption: {encryption}\n",
        tests::git_cli::object_format()
    );
    manifests.write("repository-team-a-hello.yaml", &text)
}

/// Writes the Secret with its keys.
fn keys(manifests: &Manifests, entries: &[(&str, &str)]) -> Result<()> {
    let entries: Vec<String> = entries.iter().map(|(name, key)| format!("\"{name}\": \"{key}\"")).collect();
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: hello-keys, namespace: team-a}}\nstringData: {{{}}}\n",
        entries.join(", ")
    );
    manifests.write("keys.yaml", &text)
}

fn by_secret(entry: &str, data_key: u32) -> String {
    format!("{{envelope: {{secretKeyRef: {{name: hello-keys, key: \"{entry}\"}}, dataKeyVersion: {data_key}}}}}")
}

pub(crate) fn encrypted() -> Result<Manifests> {
    let manifests = Manifests::standard()?;
    keys(&manifests, &[("1", FIRST)])?;
    repository(&manifests, &by_secret("1", 1))?;
    Ok(manifests)
}

/// Every file of a folder that has one of these texts.
fn with_text(folder: &Path, texts: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(with_text(&path, texts)?);
            continue;
        }
        let bytes = std::fs::read(&path)?;
        let has = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        found.extend(texts.iter().filter(|text| has(text)).map(|text| format!("{} has '{text}'", path.display())));
    }
    Ok(found)
}

#[test]
fn nothing_of_an_encrypted_repository_can_be_read_in_the_store() -> Result<()> {
    let bed = Bed::of(encrypted()?, &[])?;
    lfs::install(&bed.git)?;
    let source = fixture::linear(&bed.git, "source.git", 12)?;
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    let content = "a large file of the very secret kind\n".repeat(10_000);
    let work = lfs::tracked(&bed.git, &bed.url(), "work", &[("large.bin", content.as_bytes())])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/confidential"])?;
    // The same words are in what is stored without encryption, or this would prove nothing.
    bed.git
        .ok(&work, &["push", "--quiet", &bed.server.url("alice", "team-a/other"), "HEAD:refs/heads/confidential"])?;
    let texts = ["refs/heads/", "confidential", "very secret", "alice", "PACK"];
    let (mut sealed, mut plain) = (vec![], vec![]);
    let folders = std::fs::read_dir(bed.store.path())?.collect::<Result<Vec<_>, _>>()?;
    for folder in folders.iter().map(std::fs::DirEntry::path).filter(|path| path.join("log").is_dir()) {
        let found = with_text(&folder, &texts)?;
        if folder.join("keys").is_dir() { sealed.extend(found) } else { plain.extend(found) }
    }
    ensure!(sealed.is_empty(), "{sealed:#?}");
    ensure!(texts.iter().all(|text| plain.iter().any(|line| line.contains(text))), "{plain:#?}");

    bed.clone_is_sound("first.git")?;
    let second = Server::start(bed.options())?;
    let clone = bed.git.clone(&second.url("alice", REPOSITORY), "clone")?;
    bed.git.ok(&clone, &["checkout", "--quiet", "confidential"])?;
    ensure!(std::fs::read_to_string(clone.join("large.bin"))? == content);
    Ok(())
}

#[test]
fn without_its_key_a_repository_says_so_and_the_others_go_on() -> Result<()> {
    let bed = Bed::of(encrypted()?, &[])?;
    bed.started()?;
    let other = bed.server.url("alice", "team-a/other");
    bed.git.ok(&bed.git.path("work"), &["push", "--quiet", &other, "main"])?;
    keys(&bed.manifests, &[("1", SECOND)])?;
    let refusal = wait::until("a refusal", Duration::from_secs(10), || {
        Ok(bed.git.run(&bed.git.path(""), &["ls-remote", &bed.url()])?.refused().ok())
    })?;
    ensure!(refusal.contains(LOCKED), "{refusal}");
    bed.git.commit(&bed.git.path("work"), "note", "more\n")?;
    let refusal = bed.git.run(&bed.git.path("work"), &["push", "origin", "main"])?.refused()?;
    ensure!(refusal.contains(LOCKED), "{refusal}");
    bed.git.ok(&bed.git.path("work"), &["push", "--quiet", &other, "main"])?;
    ensure!(bed.server.log().contains("fingerprint"), "the log does not say which key is wanted");
    ensure!(!bed.server.log().contains(FIRST) && !bed.server.log().contains(SECOND), "a key is in the log");

    keys(&bed.manifests, &[("1", FIRST)])?;
    wait::until("its return", Duration::from_secs(10), || {
        Ok(bed.git.run(&bed.git.path("work"), &["push", "--quiet", "origin", "main"])?.refused().is_err().then_some(()))
    })?;
    bed.clone_is_sound("clone.git")
}

#[test]
fn encryption_is_neither_added_nor_taken_away() -> Result<()> {
    let bed = Bed::new()?;
    bed.started()?;
    keys(&bed.manifests, &[("1", FIRST)])?;
    repository(&bed.manifests, &by_secret("1", 1))?;
    // The rule of the schema keeps the running server on the manifest that it had; a new one sees only the new one.
    bed.clone_is_sound("before.git")?;
    let second = Server::start(bed.options())?;
    let refusal = bed.git.run(&bed.git.path(""), &["ls-remote", &second.url("alice", REPOSITORY)])?.refused()?;
    ensure!(refusal.contains(LOCKED), "{refusal}");
    ensure!(second.log().contains("was made without encryption"), "{}", second.log());
    Ok(())
}

#[test]
fn keys_are_exchanged_while_people_push() -> Result<()> {
    let bed = Bed::of(encrypted()?, &[])?;
    let (work, second) = (bed.started()?, Server::start(bed.options())?);
    let done = AtomicBool::new(false);
    let pushes = std::thread::scope(|scope| -> Result<u32> {
        let pushing = scope.spawn(|| -> Result<u32> {
            let mut pushes = 0;
            while !done.load(Ordering::Relaxed) {
                let server = if pushes % 2 == 0 { &bed.server } else { &second };
                bed.git.commit(&work, "note", &format!("{pushes}\n"))?;
                bed.git.ok(&work, &["push", "--quiet", &server.url("alice", REPOSITORY), "main"])?;
                pushes += 1;
            }
            Ok(pushes)
        });
        let steps = || -> Result<()> {
            let pause = || std::thread::sleep(Duration::from_millis(1_500));
            keys(&bed.manifests, &[("1", FIRST), ("2", SECOND)])?;
            repository(&bed.manifests, &by_secret("2", 1))?;
            pause();
            repository(&bed.manifests, &by_secret("2", 2))?;
            pause();
            keys(&bed.manifests, &[("2", SECOND)])?;
            pause();
            Ok(())
        };
        let outcome = steps();
        done.store(true, Ordering::Relaxed);
        let pushes = pushing.join().expect("because it does not panic")?;
        outcome.map(|()| pushes)
    })?;
    ensure!(pushes > 3, "only {pushes} pushes");
    let third = Server::start(bed.options())?;
    let clone = bed.git.clone(&third.url("alice", REPOSITORY), "clone")?;
    bed.git.fsck(&clone)?;
    ensure!(bed.git.ok(&clone, &["rev-parse", "main"])? == bed.git.ok(&work, &["rev-parse", "main"])?);
    Ok(())
}

#[test]
fn a_key_of_aws_kms_wraps_and_its_absence_is_survived_for_a_while() -> Result<()> {
    let (git, s3, mut moto, manifests) = (Git::new()?, SeaweedFs::start()?, Moto::start()?, Manifests::standard()?);
    let url = s3.bucket("encrypted")?;
    repository(&manifests, &format!("{{envelope: {{keyServiceRef: {{name: aws, keyId: {}}}}}}}", moto.key()?))?;
    let options = || {
        let service = format!("aws={}", moto.key_service());
        let mut options = ServerOptions::new(manifests.path(), &*url).with(&["--key-service", &service]);
        options.environment = SeaweedFs::credentials();
        options
    };
    let (server, cold) = (Server::start(options())?, options());
    // More than a chunk of what is downloaded in parts.
    let noise = tests::random::Sequence::new(5).bytes(20 << 20);
    let source = fixture::import(&git, "source.git", |stream| {
        let files: &[(&str, &[u8])] = &[("noise", &noise)];
        stream.commit(fixture::Commit { branch: "main", parents: &[], message: "First", files }).map(drop)
    })?;
    git.ok(&source, &["push", "--quiet", "--mirror", &server.url("alice", REPOSITORY)])?;
    let second = Server::start(cold.clone())?;
    let clone = git.clone(&second.url("alice", REPOSITORY), "clone")?;
    ensure!(std::fs::read(clone.join("noise"))? == noise, "it came back as something else");
    moto.kill()?;
    git.commit(&clone, "note", "without KMS\n")?;
    git.ok(&clone, &["push", "--quiet", "origin", "main"])?;
    let third = Server::start(cold)?;
    let refusal = git.run(&git.path(""), &["ls-remote", &third.url("alice", REPOSITORY)])?.refused()?;
    ensure!(refusal.contains(LOCKED), "{refusal}");
    git.ok(&git.path(""), &["ls-remote", &third.url("alice", "team-a/other")])?;
    Ok(())
}

#[test]
fn the_bucket_encrypts_with_the_key_of_the_repository() -> Result<()> {
    let (git, s3, manifests) = (Git::new()?, SeaweedFs::start()?, Manifests::standard()?);
    let mut options = ServerOptions::new(manifests.path(), s3.bucket("keyed")?);
    options.environment = SeaweedFs::credentials();
    repository(&manifests, "{kmsKeyId: team-a-key}")?;
    let server = Server::start(options)?;
    let source = fixture::linear(&git, "source.git", 12)?;
    let noise = tests::random::Sequence::new(5).bytes(40 << 20);
    let large = fixture::import(&git, "large.git", |stream| {
        let files: &[(&str, &[u8])] = &[("noise", &noise)];
        stream.commit(fixture::Commit { branch: "large", parents: &[], message: "First", files }).map(drop)
    })?;
    git.ok(&source, &["push", "--quiet", &server.url("alice", REPOSITORY), "main"])?;
    git.ok(&source, &["push", "--quiet", &server.url("alice", "team-a/other"), "main"])?;
    git.ok(&large, &["push", "--quiet", &server.url("alice", REPOSITORY), "large"])?;
    let script = "import boto3, sys\n\
        s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='testkey', aws_secret_access_key='testsecret')\n\
        for o in s3.list_objects_v2(Bucket='keyed')['Contents']:\n\
        \x20   head = s3.head_object(Bucket='keyed', Key=o['Key'])\n\
        \x20   print(o['Key'].split('/')[0], o['Key'].split('/')[1], head.get('SSEKMSKeyId'))\n";
    let listed = python::run(script, &[&format!("http://127.0.0.1:{}", s3.port())], TempDir::new()?.path())?;
    let keyed: Vec<&str> = listed.lines().filter(|line| line.ends_with("team-a-key")).collect();
    ensure!(
        keyed.iter().any(|line| line.contains(" packs ")) && keyed.iter().any(|line| line.contains(" log ")),
        "{listed}"
    );
    let id = keyed.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
    ensure!(listed.lines().filter(|line| line.starts_with(id)).eq(keyed.iter().copied()), "{listed}");
    ensure!(listed.lines().any(|line| line.contains(" log None")), "the other repository has no key: {listed}");
    git.clone(&server.url("alice", REPOSITORY), "clone").map(drop)
}
