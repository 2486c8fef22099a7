//! What people do all day with stock git.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::git_cli::object_format;
use tests::{Git, Manifests, Server, ServerOptions, fixture, process, raw_http, wait};

use crate::bed::{Bed, REPOSITORY};

#[test]
fn an_empty_repository_clones_and_its_first_push_arrives() -> Result<()> {
    let bed = Bed::new()?;
    let clone = bed.git.clone(&bed.url(), "empty")?;
    let head = bed.git.ok(&clone, &["symbolic-ref", "HEAD"])?;
    assert_eq!(head.trim(), "refs/heads/main", "an unborn HEAD is announced");
    let id = bed.git.commit(&clone, "README", "hello\n")?;
    bed.git.ok(&clone, &["push", "--quiet", "origin", "main"])?;
    assert_eq!(bed.git.remote_refs(&bed.url())?, format!("{id} refs/heads/main\n"));
    bed.clone_is_sound("again")
}

#[test]
fn the_first_pushed_branch_becomes_the_default_when_the_configured_one_does_not_exist() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.git.init("work")?;
    bed.git.ok(&work, &["checkout", "--quiet", "-b", "trunk"])?;
    bed.git.commit(&work, "README", "hello\n")?;
    bed.git.ok(&work, &["push", "--quiet", &bed.url(), "trunk"])?;
    let clone = bed.git.clone(&bed.url(), "clone")?;
    assert_eq!(bed.git.ok(&clone, &["symbolic-ref", "HEAD"])?.trim(), "refs/heads/trunk");
    Ok(())
}

#[test]
fn a_fetch_after_each_push_sees_it() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    let other = bed.git.clone(&bed.url(), "other")?;
    for round in 0..15 {
        let id = bed.git.commit(&work, &format!("file-{}", round % 4), &format!("round {round}\n"))?;
        bed.git.ok(&work, &["push", "--quiet"])?;
        bed.git.ok(&other, &["fetch", "--quiet"])?;
        assert_eq!(bed.git.ok(&other, &["rev-parse", "origin/main"])?.trim(), id, "round {round}");
    }
    bed.git.fsck(&other)?;
    bed.clone_is_sound("whole")
}

#[test]
fn force_with_lease_wins_when_the_lease_holds_and_loses_when_it_does_not() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    let rival = bed.git.clone(&bed.url(), "rival")?;
    bed.git.ok(&work, &["reset", "--quiet", "--hard", "HEAD~2"])?;
    let rewritten = bed.git.commit(&work, "file", "rewritten\n")?;
    let refusal = bed.git.run(&work, &["push", "origin", "main"])?.refused()?;
    assert!(refusal.contains("rejected") || refusal.contains("non-fast-forward"), "{refusal}");
    bed.git.ok(&work, &["push", "--quiet", "--force-with-lease", "origin", "main"])?;
    assert!(bed.git.remote_refs(&bed.url())?.contains(&format!("{rewritten} refs/heads/main")));
    bed.git.ok(&rival, &["reset", "--quiet", "--hard", "HEAD~1"])?;
    bed.git.commit(&rival, "file", "mine\n")?;
    let refusal = bed.git.run(&rival, &["push", "--force-with-lease", "origin", "main"])?.refused()?;
    assert!(refusal.contains("stale info"), "{refusal}");
    bed.clone_is_sound("clone")
}

#[test]
fn two_users_who_move_the_same_branch_the_second_is_told_to_fetch_first() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    let rival = bed.git.clone(&bed.url(), "rival")?;
    bed.git.commit(&work, "one", "1\n")?;
    bed.git.ok(&work, &["push", "--quiet"])?;
    bed.git.commit(&rival, "two", "2\n")?;
    let refusal = bed.git.run(&rival, &["push"])?.refused()?;
    assert!(refusal.contains("fetch first"), "{refusal}");
    bed.git.ok(&rival, &["pull", "--quiet", "--rebase"])?;
    bed.git.ok(&rival, &["push", "--quiet"])?;
    bed.clone_is_sound("clone")
}

#[test]
fn tags_of_both_kinds_arrive_and_go() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    bed.git.ok(&work, &["tag", "light"])?;
    bed.git.ok(&work, &["tag", "--annotate", "--message", "heavy", "heavy"])?;
    bed.git.ok(&work, &["tag", "--annotate", "--message", "tag of a tag", "nested", "heavy"])?;
    bed.git.ok(&work, &["push", "--quiet", "--tags"])?;
    bed.clone_is_sound("clone")?;
    let peeled = bed.git.ok(&work, &["ls-remote", "--tags", &bed.url()])?;
    assert!(peeled.contains("refs/tags/nested^{}"), "{peeled}");
    bed.git.ok(&work, &["push", "--quiet", "origin", ":refs/tags/heavy"])?;
    assert!(!bed.git.remote_refs(&bed.url())?.contains("refs/tags/heavy"));
    bed.clone_is_sound("after")
}

#[test]
fn branches_are_deleted_and_can_be_made_anew() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    bed.git.ok(&work, &["checkout", "--quiet", "-b", "topic"])?;
    let id = bed.git.commit(&work, "topic", "text\n")?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "topic"])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "--delete", "topic"])?;
    assert!(!bed.git.remote_refs(&bed.url())?.contains("topic"));
    bed.clone_is_sound("without")?;
    // The objects were pushed before, but nothing shows them any more: they have to be taken all the same.
    bed.git.ok(&work, &["push", "--quiet", "origin", "topic"])?;
    assert!(bed.git.remote_refs(&bed.url())?.contains(&format!("{id} refs/heads/topic")));
    bed.clone_is_sound("with")
}

#[test]
fn a_deleted_branch_is_not_in_a_later_clone() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    bed.git.ok(&work, &["checkout", "--quiet", "-b", "secret"])?;
    let id = bed.git.commit(&work, "secret", "the password\n")?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "secret"])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "--delete", "secret"])?;
    bed.git.ok(&bed.git.path(""), &["clone", "--quiet", "--mirror", &bed.url(), "later"])?;
    let answer = bed.git.run(&bed.git.path("later"), &["cat-file", "-e", &id])?;
    assert!(!answer.ok, "the deleted commit came along");
    Ok(())
}

#[test]
fn an_atomic_push_is_all_or_nothing() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    let rival = bed.git.clone(&bed.url(), "rival")?;
    bed.git.commit(&rival, "rival", "1\n")?;
    bed.git.ok(&rival, &["push", "--quiet"])?;
    bed.git.commit(&work, "mine", "1\n")?;
    bed.git.ok(&work, &["branch", "fresh"])?;
    let before = bed.git.remote_refs(&bed.url())?;
    bed.git.run(&work, &["push", "--atomic", "origin", "main", "fresh"])?.refused()?;
    assert_eq!(bed.git.remote_refs(&bed.url())?, before);
    bed.git.ok(&work, &["push", "--quiet", "--atomic", "origin", "main:one", "fresh"])?;
    assert!(bed.git.remote_refs(&bed.url())?.contains("refs/heads/fresh"));
    Ok(())
}

#[test]
fn push_options_and_quiet_pushes_are_taken() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    bed.git.commit(&work, "file", "1\n")?;
    bed.git.ok(&work, &["push", "--push-option", "ci.skip", "--push-option", "topic=x"])?;
    bed.git.commit(&work, "file", "2\n")?;
    let answer = bed.git.run(&work, &["push", "--quiet"])?;
    assert!(answer.ok && answer.stderr.is_empty(), "{}", answer.stderr);
    Ok(())
}

#[test]
fn old_protocol_versions_clone_fetch_and_push() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    for version in ["0", "1", "2"] {
        let setting = format!("protocol.version={version}");
        let name = format!("clone-{version}");
        bed.git.ok(&bed.git.path(""), &["-c", &setting, "clone", "--quiet", &bed.url(), &name])?;
        bed.git.commit(&work, "file", &format!("version {version}\n"))?;
        bed.git.ok(&work, &["-c", &setting, "push", "--quiet"])?;
        let clone = bed.git.path(&name);
        bed.git.ok(&clone, &["-c", &setting, "pull", "--quiet"])?;
        assert_eq!(bed.git.head(&clone)?, bed.git.head(&work)?);
        bed.git.fsck(&clone)?;
    }
    Ok(())
}

#[test]
fn single_branches_and_diverged_clones_fetch_what_they_lack() -> Result<()> {
    let bed = Bed::new()?;
    let work = bed.started()?;
    bed.git
        .ok(&bed.git.path(""), &["clone", "--quiet", "--single-branch", "--branch", "main", &bed.url(), "single"])?;
    let single = bed.git.path("single");
    for number in 0..300 {
        bed.git.ok(&single, &["commit", "--quiet", "--allow-empty", "--message", &format!("local {number}")])?;
    }
    bed.git.commit(&work, "upstream", "1\n")?;
    bed.git.ok(&work, &["push", "--quiet"])?;
    bed.git.ok(&single, &["fetch", "--quiet"])?;
    bed.git.ok(&single, &["merge", "--quiet", "--no-edit", "origin/main"])?;
    bed.git.ok(&single, &["push", "--quiet"])?;
    bed.clone_is_sound("clone")
}

#[test]
fn ten_thousand_branches_are_pushed_at_once_and_listed() -> Result<()> {
    let bed = Bed::new()?;
    let source = fixture::many_refs(&bed.git, "many.git", 9_000)?;
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    assert_eq!(bed.git.remote_refs(&bed.url())?.lines().count(), 9_001);
    bed.git.ok(&source, &["push", "--quiet", &bed.url(), ":refs/heads/branch/00/00000"])?;
    assert_eq!(bed.git.remote_refs(&bed.url())?.lines().count(), 9_000);
    Ok(())
}

#[test]
fn a_restarted_server_with_an_empty_cache_serves_all_that_was_acknowledged() -> Result<()> {
    let mut bed = Bed::new()?;
    let work = bed.started()?;
    for round in 0..80 {
        bed.git.ok(&work, &["commit", "--quiet", "--allow-empty", "--message", &format!("round {round}")])?;
        bed.git.ok(&work, &["push", "--quiet"])?;
    }
    let before = bed.git.remote_refs(&bed.url())?;
    bed.server = bed.server.restarted()?;
    assert_eq!(bed.git.remote_refs(&bed.url())?, before);
    bed.clone_is_sound("clone")
}

#[test]
fn a_server_that_drains_is_not_ready_and_serves_on_until_the_delay_is_over() -> Result<()> {
    let (git, manifests, store) = (Git::new()?, Manifests::standard()?, tempfile::TempDir::new()?);
    let options = ServerOptions::new(manifests.path(), format!("file:{}", store.path().display()));
    let mut server = Server::start(options.with(&["--drain-delay", "3"]))?;
    let asked = Instant::now();
    process::signal(server.pid(), "TERM")?;
    let unready = || Ok((raw_http::get(server.admin_address(), "/readyz")?.status == 503).then_some(()));
    wait::until("not ready", Duration::from_secs(2), unready)?;
    assert_eq!(raw_http::get(server.admin_address(), "/healthz")?.status, 200, "a drain is no reason to be killed");
    let clone = git.clone(&server.url("alice", REPOSITORY), "clone")?;
    git.commit(&clone, "README", "hello\n")?;
    git.ok(&clone, &["push", "--quiet", "origin", "HEAD"])?;
    // Asking again does not cut it short.
    assert!(server.terminate(Duration::from_secs(40))?, "{}", server.log());
    assert!(asked.elapsed() >= Duration::from_secs(3));
    Ok(())
}

#[test]
fn a_stop_lets_a_clone_end_and_leaves_with_success() -> Result<()> {
    let mut bed = Bed::new()?;
    bed.started()?;
    assert!(bed.server.terminate(Duration::from_secs(40))?, "{}", bed.server.log());
    assert!(bed.server.log().contains("stopped"), "{}", bed.server.log());
    Ok(())
}

#[test]
fn a_suspended_repository_is_refused_in_words_and_keeps_its_data() -> Result<()> {
    let bed = Bed::new()?;
    bed.started()?;
    let file = "repository-team-a-hello.yaml";
    let manifest = "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: hello, namespace: team-a}\n";
    let format = object_format();
    bed.manifests.write(file, &format!("{manifest}spec: {{suspend: true, objectFormat: {format}}}\n"))?;
    let refusal = wait::until("the suspension", Duration::from_secs(5), || {
        let answer = bed.git.run(&bed.git.path(""), &["ls-remote", &bed.url()])?;
        Ok((!answer.ok).then_some(answer.stderr))
    })?;
    assert!(refusal.contains("403") || refusal.contains("suspended"), "{refusal}");
    bed.manifests.repository("team-a", "hello")?;
    wait::until("the end of the suspension", Duration::from_secs(5), || {
        Ok(bed.git.run(&bed.git.path(""), &["ls-remote", &bed.url()])?.ok.then_some(()))
    })?;
    bed.clone_is_sound("clone")
}

#[test]
fn codekeep_fsck_finds_nothing_wrong_after_pushes_and_something_after_damage() -> Result<()> {
    let mut bed = Bed::new()?;
    let work = bed.started()?;
    bed.git.commit(&work, "file", "1\n")?;
    bed.git.ok(&work, &["push", "--quiet"])?;
    bed.server.kill()?;
    let check = || -> Result<std::process::Output> {
        let cache = bed.git.path("fsck-cache");
        let mut command = std::process::Command::new(tests::binary::codekeep()?);
        command.arg("fsck").arg("--store").arg(format!("file:{}", bed.store.path().display()));
        Ok(command.arg("--cache").arg(cache).arg(REPOSITORY).output()?)
    };
    let sound = check()?;
    assert!(
        sound.status.success(),
        "{}{}",
        String::from_utf8_lossy(&sound.stdout),
        String::from_utf8_lossy(&sound.stderr)
    );
    let entry = largest_file(bed.store.path(), "log")?;
    let mut bytes = std::fs::read(&entry)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&entry, bytes)?;
    std::fs::remove_dir_all(bed.git.path("fsck-cache"))?;
    assert_eq!(check()?.status.code(), Some(1));
    Ok(())
}

/// The largest file below a folder that has a component of this name on its path.
fn largest_file(folder: &std::path::Path, component: &str) -> Result<std::path::PathBuf> {
    let (mut folders, mut largest) = (vec![folder.to_path_buf()], (0, folder.to_path_buf()));
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let (path, size) = {
                let entry = entry?;
                (entry.path(), entry.metadata()?.len())
            };
            if path.is_dir() {
                folders.push(path);
            } else if size > largest.0 && path.iter().any(|part| part == component) {
                largest = (size, path);
            }
        }
    }
    Ok(largest.1)
}
