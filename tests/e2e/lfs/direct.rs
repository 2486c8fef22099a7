//! Objects that go straight between clients and the bucket: by git-lfs, and by hand as a client would that means ill.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::fault_proxy::{Fault, FaultProxy, Rule};
use tests::lfs::{self, Link, oid};
use tests::manifests::PASSWORD;
use tests::raw_http::{self, Response};
use tests::s3::{SeaweedFs, store_url};
use tests::{Git, Manifests, Server, ServerOptions, wait};

use super::{REPOSITORY, install, random, tracked};

const BUCKET: &str = "large-files";
const PATIENCE: Duration = Duration::from_mins(1);

/// A bucket that servers and clients reach.
struct Straight {
    git: Git,
    manifests: Manifests,
    s3: SeaweedFs,
}

impl Straight {
    fn new() -> Result<Self> {
        let straight = Self { git: Git::new()?, manifests: Manifests::standard()?, s3: SeaweedFs::start()? };
        install(&straight.git)?;
        straight.s3.bucket(BUCKET)?;
        Ok(straight)
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.s3.port()).into()
    }

    /// A server that reaches the bucket by an address, and lets clients do so as the parameter says.
    fn options(&self, address: SocketAddr, parameter: &str) -> ServerOptions {
        let mut options =
            ServerOptions::new(self.manifests.path(), format!("{}{parameter}", store_url(BUCKET, address)));
        options.environment = SeaweedFs::credentials();
        options
    }

    fn server(&self, parameter: &str) -> Result<Server> {
        Server::start(self.options(self.address(), parameter))
    }

    /// Objects of the bucket below `lfs/`, names only.
    fn stored(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for folder in self.listed(&format!("/buckets/{BUCKET}/"))? {
            found.extend(self.listed(&format!("/buckets/{BUCKET}/{folder}/lfs/")).unwrap_or_default());
        }
        Ok(found)
    }

    fn listed(&self, folder: &str) -> Result<Vec<String>> {
        let headers = [("Accept", "application/json")];
        let listing: Value =
            serde_json::from_slice(&raw_http::send(self.s3.plain(), "GET", folder, &headers, b"")?.body)?;
        let entries = listing["Entries"].as_array().cloned().unwrap_or_default();
        let paths = entries.iter().filter_map(|entry| entry["FullPath"].as_str()?.rsplit('/').next());
        Ok(paths.map(str::to_owned).collect())
    }
}

fn requests(server: &Server, verb: &str) -> Result<String> {
    let label = format!("outcome=\"ok\",transport=\"http\",verb=\"{verb}\"");
    Ok(server.metric("codekeep_git_requests_total", &label)?.to_string())
}

fn links(server: &Server, operation: &str, way: &str) -> Result<String> {
    let label = format!("operation=\"{operation}\",way=\"{way}\"");
    Ok(server.metric("codekeep_lfs_links_total", &label)?.to_string())
}

fn verify(server: &Server, user: &str, oid: &str, size: usize) -> Result<Response> {
    lfs::post(server.address(), user, "verify", &json!({"oid": oid, "size": size}))
}

fn batch(server: &Server, operation: &str, oid: &str, size: usize) -> Result<Value> {
    lfs::batch(server.address(), operation, oid, size)
}

fn upload(answer: &Value) -> Result<Link> {
    Link::parse(&answer["actions"]["upload"])
}

/// A clone whose objects are still to come.
fn without_objects(git: &Git, url: &str, name: &str) -> Result<std::path::PathBuf> {
    let mut command = git.command(&git.path(""), &["clone", "--quiet", url, name]);
    ensure!(command.env("GIT_LFS_SKIP_SMUDGE", "1").status()?.success(), "the clone without objects failed");
    let clone = git.path(name);
    git.ok(&clone, &["remote", "set-url", "origin", url])?;
    Ok(clone)
}

fn same(clone: &Path, file: &str, content: &[u8]) -> Result<()> {
    ensure!(std::fs::read(clone.join(file))? == content, "{file} came back as something else");
    Ok(())
}

#[test]
fn objects_pass_by_the_server_and_everybody_can_have_them() -> Result<()> {
    let bed = Straight::new()?;
    // Servers reach the bucket by an address, and clients by a name.
    let outside = format!("&lfs-direct=http://localhost:{}", bed.s3.port());
    let (direct, proxying) = (bed.server(&outside)?, bed.server("")?);
    let (large, small, empty) = (random(1, 40_000_000), random(2, 70_000), Vec::new());
    let files: [(&str, &[u8]); 3] = [("large.bin", &large), ("small.bin", &small), ("empty.bin", &empty)];
    let work = tracked(&bed.git, &direct.url("alice", REPOSITORY), "work", &files)?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    ensure!(
        requests(&direct, "lfs-upload")? == "1",
        "the large object came through the server, or the small one did not"
    );
    ensure!(requests(&direct, "lfs-verify")? == "2" && links(&direct, "upload", "direct")? == "1");
    ensure!(direct.metric("codekeep_git_received_bytes_total", "")? < 1e6);

    // Verified chunk by chunk by a server that knows nothing of it; then straight from the bucket.
    let clone = bed.git.clone(&proxying.url("alice", REPOSITORY), "proxied")?;
    files.iter().try_for_each(|(file, content)| same(&clone, file, content))?;
    ensure!(requests(&proxying, "lfs-download")? == "2" && links(&proxying, "download", "direct")? == "0");
    let clone = bed.git.clone(&direct.url("bob", REPOSITORY), "straight")?;
    files.iter().try_for_each(|(file, content)| same(&clone, file, content))?;
    bed.git.ok(&clone, &["lfs", "fsck"])?;
    ensure!(requests(&direct, "lfs-download")? == "0" && links(&direct, "download", "direct")? == "2");

    // Credentials of a helper stay with the server; the bucket would refuse a request that has them.
    let home = bed.git.path("");
    std::fs::write(bed.git.path(".git-credentials"), format!("http://alice:{PASSWORD}@{}\n", direct.address()))?;
    bed.git.ok(&home, &["config", "--global", "credential.helper", "store"])?;
    let more = random(3, 3_000_000);
    let work = tracked(&bed.git, &direct.bare_url(REPOSITORY), "helped", &[("more.bin", &more)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/more"])?;
    let helped = without_objects(&bed.git, &direct.bare_url(REPOSITORY), "helped-clone")?;
    bed.git.ok(&helped, &["checkout", "--quiet", "more"])?;
    bed.git.ok(&helped, &["lfs", "pull"])?;
    same(&helped, "more.bin", &more)?;
    ensure!(requests(&direct, "lfs-upload")? == "1" && requests(&direct, "lfs-download")? == "0");
    ensure!(!direct.log().contains("Signature"), "a signed address is in the log");
    Ok(())
}

#[test]
fn a_link_is_good_for_one_object_of_one_content_and_nothing_else() -> Result<()> {
    let bed = Straight::new()?;
    let server = bed.server("&lfs-direct=true")?;
    let (content, mut other) = (random(1, 3_000_000), random(1, 3_000_000));
    other[1_234_567] ^= 1;
    let (id, size) = (oid(&content), content.len());
    let answer = batch(&server, "upload", &id, size)?;
    ensure!(
        answer["actions"]["upload"]["expires_in"] == 900 && answer["authenticated"].is_null(),
        "{:?}",
        answer["authenticated"]
    );
    ensure!(answer["actions"]["verify"]["href"].as_str().is_some_and(|href| href.ends_with("/info/lfs/verify")));

    let (link, short) = (upload(&answer)?, &content[..size - 1]);
    let copied = [("x-amz-copy-source", "/large-files/owner")];
    let bare =
        Link { headers: link.headers.iter().filter(|(name, _)| name == "Host").cloned().collect(), ..link.clone() };
    for (what, refused) in [
        ("other bytes", link.follow("PUT", &[], &other)?),
        ("fewer bytes", link.follow("PUT", &[], short)?),
        ("a copy", link.follow("PUT", &copied, &content)?),
        ("no checksum", bare.follow("PUT", &[], &other)?),
        ("a read", link.follow("GET", &[], b"")?),
        ("a deletion", link.follow("DELETE", &[], b"")?),
    ] {
        ensure!((400..500).contains(&refused.status), "{what}: {} {}", refused.status, refused.text());
    }
    ensure!(verify(&server, "alice", &id, size)?.status == 404, "something is there");
    ensure!(bed.stored()?.is_empty(), "{:?}", bed.stored()?);

    ensure!(link.follow("PUT", &[], &content)?.status == 200, "what was signed is refused");
    ensure!(
        batch(&server, "download", &id, size)?["error"]["code"] == 404,
        "it is visible before anybody looked at it"
    );
    // Whoever may not push does not make it visible.
    let refused = verify(&server, "bob", &id, size)?;
    ensure!(refused.status == 403, "{}", refused.text());
    let wrong = verify(&server, "alice", &id, size + 1)?;
    ensure!(wrong.status == 422, "{} {}", wrong.status, wrong.text());
    let verified = verify(&server, "alice", &id, size)?;
    ensure!(verified.status == 200, "{}", verified.text());
    ensure!(link.follow("PUT", &[], &content)?.status == 412, "it can be written again");

    let answer = batch(&server, "download", &id, size)?;
    ensure!(answer["authenticated"] == true && answer["actions"]["download"]["expires_in"] == 900);
    let link = Link::parse(&answer["actions"]["download"])?;
    ensure!(link.follow("GET", &[], b"")?.body == content);
    let rest = link.follow("GET", &[("Range", "bytes=2000000-")], b"")?;
    ensure!(rest.status == 206 && rest.body == content[2_000_000..], "{}", rest.status);
    ensure!((400..500).contains(&link.follow("PUT", &[], &other)?.status), "a download can be written to");
    Ok(())
}

#[test]
fn what_was_sent_and_not_said_to_be_is_not_sent_again() -> Result<()> {
    let bed = Straight::new()?;
    let proxy = FaultProxy::start(bed.address())?;
    let server = Server::start(bed.options(proxy.address(), &format!("&lfs-direct=http://{}", bed.address())))?;
    let content = random(1, 9_000_000);
    let id = oid(&content);
    let answer = batch(&server, "upload", &id, content.len())?;
    ensure!(upload(&answer)?.follow("PUT", &[], &content)?.status == 200);
    drop(server);

    // This one dies when it is about to make it visible.
    let mut server = Server::start(bed.options(proxy.address(), &format!("&lfs-direct=http://{}", bed.address())))?;
    proxy.set([Rule::new("PUT", ".sums", Fault::RequestLost)]);
    let answer = verify(&server, "alice", &id, content.len());
    ensure!(answer.is_ok_and(|answer| answer.status == 503));
    server.kill()?;
    proxy.set([]);
    let server = Server::start(bed.options(proxy.address(), &format!("&lfs-direct=http://{}", bed.address())))?;
    ensure!(batch(&server, "download", &id, content.len())?["error"]["code"] == 404);

    let work = tracked(&bed.git, &server.url("alice", REPOSITORY), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    ensure!(links(&server, "upload", "direct")? == "0" && links(&server, "upload", "proxied")? == "0");
    same(&bed.git.clone(&server.url("alice", REPOSITORY), "clone")?, "a.bin", &content)
}

#[test]
fn a_bucket_that_clients_do_not_reach_or_that_refuses_them_late_fails_cleanly() -> Result<()> {
    let bed = Straight::new()?;
    let content = random(1, 2_000_000);
    let nobody = tests::server::free_address()?;
    let unreached = bed.server(&format!("&lfs-direct=http://{nobody}"))?;
    let work = tracked(&bed.git, &unreached.url("alice", REPOSITORY), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["config", "lfs.transfer.maxretries", "1"])?;
    let refusal = bed.git.run(&work, &["push", "origin", "main"])?.refused()?;
    ensure!(refusal.contains("connection refused"), "{refusal}");
    ensure!(!bed.git.remote_refs(&unreached.url("alice", REPOSITORY))?.contains("main"), "the branch came alone");
    ensure!(bed.stored()?.is_empty(), "{:?}", bed.stored()?);

    // Addresses that hold no longer when it is their turn are asked for again.
    let proxy = FaultProxy::start(bed.address())?;
    let server = bed.server(&format!("&lfs-direct=http://{}", proxy.address()))?;
    proxy.set([Rule::new("PUT", "/lfs/", Fault::Status(403, "AccessDenied")).times(1)]);
    let url = server.url("alice", REPOSITORY);
    bed.git.ok(&work, &["config", "lfs.transfer.maxretries", "8"])?;
    bed.git.ok(&work, &["remote", "set-url", "origin", &url])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    ensure!(proxy.faults() == 1 && links(&server, "upload", "direct")? == "2", "it was not asked for again");

    // A download that breaks off goes on where it was.
    let clone = without_objects(&bed.git, &url, "clone")?;
    proxy.set([Rule::new("GET", "/lfs/", Fault::Truncated(1_500_000)).times(1)]);
    bed.git.ok(&clone, &["lfs", "pull"])?;
    same(&clone, "a.bin", &content)?;
    ensure!(proxy.faults() == 2 && proxy.count("GET", "/lfs/") == 2, "it did not break off");
    Ok(())
}

#[test]
fn a_bucket_that_does_not_look_at_checksums_gets_uploads_through_the_server_only() -> Result<()> {
    let bed = Straight::new()?;
    let proxy = FaultProxy::start(bed.address())?;
    // What a store says that does not compare them.
    proxy.set([Rule::new("PUT", "/direct?", Fault::DoneBut(200, ""))]);
    let server = Server::start(bed.options(proxy.address(), "&lfs-direct=true"))?;
    ensure!(server.log().contains("LFS uploads do not go straight to the bucket"), "{}", server.log());
    let content = random(1, 2_000_000);
    let work = tracked(&bed.git, &server.url("alice", REPOSITORY), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    ensure!(requests(&server, "lfs-upload")? == "1" && links(&server, "upload", "proxied")? == "1");
    same(&bed.git.clone(&server.url("alice", REPOSITORY), "clone")?, "a.bin", &content)?;
    ensure!(requests(&server, "lfs-download")? == "0" && links(&server, "download", "direct")? == "1");
    Ok(())
}

#[test]
fn limits_hold_on_the_way_straight_to_the_bucket() -> Result<()> {
    let bed = Straight::new()?;
    bed.manifests.write(
        "repository-team-a-hello.yaml",
        "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: hello, namespace: team-a}\n\
         spec: {limits: {lfsStorage: 3M, lfsObjectSize: 2500k}}\n",
    )?;
    let server = bed.server("&lfs-direct=true")?;
    let (first, second) = (random(1, 2_000_000), random(2, 2_000_000));
    let (one, two) = (oid(&first), oid(&second));
    ensure!(batch(&server, "upload", &oid(b""), 2_500_001)?["error"]["code"] == 422);
    let answer = batch(&server, "upload", &one, first.len())?;
    // Nothing was sent yet; but it may be at any time.
    let full = batch(&server, "upload", &two, second.len())?;
    ensure!(full["error"]["code"] == 507 && full["actions"].is_null(), "{:?}", full["error"]);
    ensure!(batch(&server, "upload", &one, first.len())?["error"].is_null(), "it counts twice");
    ensure!(upload(&answer)?.follow("PUT", &[], &first)?.status == 200);
    ensure!(verify(&server, "alice", &one, first.len())?.status == 200);
    ensure!(batch(&server, "upload", &two, second.len())?["error"]["code"] == 507);
    Ok(())
}

#[test]
fn what_was_sent_and_never_said_to_be_leaves_the_bucket() -> Result<()> {
    let bed = Straight::new()?;
    let hurried = bed.options(bed.address(), "&lfs-direct=true").with(&super::unused::HURRIED);
    let server = Server::start(hurried)?;
    let content = random(1, 1_300_000);
    let id = oid(&content);
    let answer = batch(&server, "upload", &id, content.len())?;
    ensure!(upload(&answer)?.follow("PUT", &[], &content)?.status == 200);
    ensure!(bed.stored()?.contains(&id), "{:?}", bed.stored()?);
    wait::until("the object to leave the bucket", PATIENCE, || Ok((!bed.stored()?.contains(&id)).then_some(())))?;
    // The address holds still. Whatever comes by it is in a life that has ended, and goes the same way.
    let late = upload(&answer)?.follow("PUT", &[], &content)?;
    ensure!(late.status == 200, "{}", late.text());
    ensure!(verify(&server, "alice", &id, content.len())?.status == 404);
    wait::until("the late object to leave the bucket", PATIENCE, || Ok((!bed.stored()?.contains(&id)).then_some(())))?;

    let work = tracked(&bed.git, &server.url("alice", REPOSITORY), "work", &[("a.bin", &content)])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    ensure!(bed.stored()?.contains(&format!("{id}.1")), "{:?}", bed.stored()?);
    same(&bed.git.clone(&server.url("alice", REPOSITORY), "clone")?, "a.bin", &content)
}
