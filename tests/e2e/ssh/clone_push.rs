//! Clone, fetch and push in every version of the protocol.

use anyhow::Result;

use super::SshBed;

#[test]
fn every_protocol_version_clones_fetches_and_pushes() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let git = &bed.bed.git;
    for version in ["0", "1", "2"] {
        let setting = format!("protocol.version={version}");
        let name = format!("clone-{version}");
        bed.ok(&bed.home(), &["-c", &setting, "clone", "--quiet", &bed.url(), &name])?;
        git.commit(&work, "file", &format!("version {version}\n"))?;
        git.ok(&work, &["-c", &setting, "push", "--quiet"])?;
        let clone = git.path(&name);
        bed.ok(&clone, &["-c", &setting, "pull", "--quiet"])?;
        assert_eq!(git.head(&clone)?, git.head(&work)?);
        git.fsck(&clone)?;
        assert_eq!(bed.ok(&clone, &["-c", &setting, "fetch", "origin"])?, "", "nothing is new");
    }
    Ok(())
}

#[test]
fn branches_and_tags_come_and_go_and_http_shows_the_same() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let git = &bed.bed.git;
    git.ok(&work, &["tag", "light"])?;
    git.ok(&work, &["tag", "--annotate", "--message", "A release", "v2-ssh"])?;
    git.ok(&work, &["checkout", "--quiet", "-b", "topic"])?;
    git.commit(&work, "topic", "1\n")?;
    git.ok(&work, &["push", "--quiet", "--tags", "origin", "topic"])?;
    let http = git.remote_refs(&bed.bed.url())?;
    assert!(http.contains("refs/heads/topic") && http.contains("refs/tags/v2-ssh") && http.contains("refs/tags/light"));
    for version in ["0", "2"] {
        let setting = format!("protocol.version={version}");
        let listed = bed.ok(&bed.home(), &["-c", &setting, "ls-remote", "--heads", "--tags", "--refs", &bed.url()])?;
        let mut listed: Vec<String> = listed.lines().map(|line| line.replace('\t', " ")).collect();
        listed.sort_by(|a, b| a.split(' ').next_back().cmp(&b.split(' ').next_back()));
        assert_eq!(listed, http.lines().collect::<Vec<_>>(), "version {version}");
    }
    git.ok(&work, &["push", "--quiet", "origin", "--delete", "topic", "v2-ssh"])?;
    let left = git.remote_refs(&bed.bed.url())?;
    assert!(!left.contains("topic") && !left.contains("v2-ssh") && left.contains("light"), "{left}");
    bed.bed.clone_is_sound("clone")
}

#[test]
fn diverged_clones_negotiate_in_old_versions() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let git = &bed.bed.git;
    for version in ["0", "2"] {
        let (setting, name) = (format!("protocol.version={version}"), format!("diverged-{version}"));
        bed.ok(&bed.home(), &["clone", "--quiet", &bed.url(), &name])?;
        let clone = git.path(&name);
        for number in 0..300 {
            git.ok(&clone, &["commit", "--quiet", "--allow-empty", "--message", &format!("local {number}")])?;
        }
        for number in 0..40 {
            git.ok(
                &work,
                &["commit", "--quiet", "--allow-empty", "--message", &format!("upstream {version} {number}")],
            )?;
        }
        git.ok(&work, &["push", "--quiet"])?;
        bed.ok(&clone, &["-c", &setting, "fetch", "--quiet"])?;
        bed.ok(&clone, &["merge", "--quiet", "--no-edit", "origin/main"])?;
        bed.ok(&clone, &["-c", &setting, "push", "--quiet", "origin", &format!("HEAD:refs/heads/{name}")])?;
        git.fsck(&clone)?;
    }
    bed.bed.clone_is_sound("clone")
}

#[test]
fn the_other_address_and_scp_like_ones_work() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    for path in
        ["/v1/repos/hello", "/team-a/hello.git", "/team-a/hello/", "/team-a/nested/name", "/v1/repos/nested/name"]
    {
        bed.ok(&bed.home(), &["ls-remote", &bed.url_of(path)])?;
    }
    // Any user name does, and a path without its first slash.
    let ssh = format!("core.sshCommand={} -p {}", bed.ssh.command_line("alice"), bed.address.port());
    let url = format!("somebody@{}:team-a/hello", bed.address.ip());
    bed.bed.git.ok(&bed.home(), &["-c", &ssh, "clone", "--quiet", &url, "scp-like"])?;
    Ok(())
}

#[test]
fn atomic_pushes_options_and_empty_repositories_work() -> Result<()> {
    let bed = SshBed::new()?;
    bed.ok(&bed.home(), &["clone", "--quiet", &bed.url_of("/team-a/other"), "empty"])?;
    let (git, work) = (&bed.bed.git, bed.started()?);
    git.commit(&work, "file", "1\n")?;
    let answer = git.run(
        &work,
        &["push", "--atomic", "--push-option", "ci.skip", "origin", "HEAD:refs/heads/one", "HEAD:refs/heads/two"],
    )?;
    assert!(answer.ok, "{}", answer.stderr);
    let answer =
        git.run(&work, &["push", "--atomic", "origin", "HEAD:refs/heads/three", "HEAD:refs/heads/release/1"])?;
    let refused = answer.refused()?;
    assert!(refused.contains("releases-are-closed"), "{refused}");
    assert!(!git.remote_refs(&bed.bed.url())?.contains("three"));
    Ok(())
}

#[test]
fn shallow_and_partial_clones_work_in_every_version() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let git = &bed.bed.git;
    for version in ["0", "1", "2"] {
        let (setting, name) = (format!("protocol.version={version}"), format!("shallow-{version}"));
        bed.ok(&bed.home(), &["-c", &setting, "clone", "--quiet", "--depth", "2", &bed.url(), &name])?;
        let clone = git.path(&name);
        let count = || git.ok(&clone, &["rev-list", "--count", "--first-parent", "HEAD"]);
        assert_eq!(count()?.trim(), "2", "version {version}");
        bed.ok(&clone, &["-c", &setting, "fetch", "--quiet", "--deepen", "3"])?;
        assert_eq!(count()?.trim(), "5", "version {version}");
        git.commit(&clone, "shallow", &format!("version {version}\n"))?;
        bed.ok(&clone, &["-c", &setting, "push", "--quiet", "origin", &format!("HEAD:refs/heads/{name}")])?;
        bed.ok(&clone, &["-c", &setting, "fetch", "--quiet", "--unshallow"])?;
        git.fsck(&clone)?;
        let name = format!("partial-{version}");
        bed.ok(
            &bed.home(),
            &["-c", &setting, "clone", "--quiet", "--filter=blob:none", "--no-checkout", &bed.url(), &name],
        )?;
        bed.ok(&git.path(&name), &["-c", &setting, "checkout", "--quiet", "HEAD"])?;
    }
    bed.bed.clone_is_sound("clone")
}

#[test]
fn a_large_repository_moves_both_ways() -> Result<()> {
    let bed = SshBed::new()?;
    let source = crate::memory::large(&bed.bed, 40)?;
    bed.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    for version in ["0", "2"] {
        let (setting, name) = (format!("protocol.version={version}"), format!("large-{version}.git"));
        bed.ok(&bed.home(), &["-c", &setting, "clone", "--quiet", "--mirror", &bed.url(), &name])?;
        assert_eq!(bed.bed.git.refs(&bed.bed.git.path(&name))?, bed.bed.git.refs(&source)?);
    }
    Ok(())
}
