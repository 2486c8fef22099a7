//! `git archive --remote`, compared with what git makes of the same tree at home.

use std::path::Path;

use anyhow::Result;
use tests::python;

use super::SshBed;

/// Prints a line for each member of an archive.
const LIST: &str = r#"
import hashlib, sys, tarfile, zipfile
path, times = sys.argv[1], sys.argv[2] == "times"
if zipfile.is_zipfile(path):
    archive = zipfile.ZipFile(path)
    print(archive.comment.decode())
    for one in archive.infolist():
        mode = one.external_attr >> 16
        kind = "link" if mode >> 12 == 0o12 else "dir" if one.is_dir() else "exec" if mode & 0o111 else "file"
        print(one.filename, kind, hashlib.sha1(archive.read(one)).hexdigest())
else:
    archive = tarfile.open(path)
    print(archive.pax_headers.get("comment"))
    for one in archive:
        content = hashlib.sha1(archive.extractfile(one).read()).hexdigest() if one.isfile() else ""
        time = one.mtime if times else ""
        print(one.name, one.type, oct(one.mode), one.uid, one.gid, one.uname, time, one.size, one.linkname, content)
"#;

/// Something of everything that a tree may have; a tag and a folder to be named.
fn fill(bed: &SshBed, work: &Path) -> Result<()> {
    let long = "a-folder-with-a-long-name/".repeat(6);
    for folder in ["docs", "src/deep/secret", long.as_str()] {
        std::fs::create_dir_all(work.join(folder))?;
    }
    for (path, content) in [
        (".gitattributes", "docs export-ignore\n*.tmp export-ignore\n"),
        ("docs/manual.md", "left out\n"),
        ("left-out.tmp", "left out\n"),
        ("src/.gitattributes", "*.tmp -export-ignore\n/deep/secret export-ignore\n"),
        ("src/kept.tmp", "kept\n"),
        ("src/main.c", "int main(void) { return 0; }\n"),
        ("src/deep/secret/key", "left out\n"),
        ("src/deep/empty", ""),
        ("wörter.txt", "Grüße\n"),
        ("run.sh", "#!/bin/sh\n"),
        (&format!("{long}file"), "far away\n"),
    ] {
        std::fs::write(work.join(path), content)?;
    }
    std::fs::write(work.join("large"), vec![7; 3_000_000])?;
    std::os::unix::fs::symlink("src/main.c", work.join("link"))?;
    std::os::unix::fs::symlink(format!("{long}file"), work.join("long-link"))?;
    let git = &bed.bed.git;
    git.ok(work, &["add", "--all"])?;
    git.ok(work, &["update-index", "--chmod=+x", "run.sh"])?;
    git.ok(work, &["commit", "--quiet", "--message", "Something of everything"])?;
    git.ok(work, &["tag", "--annotate", "--message", "one", "annotated"])?;
    git.ok(work, &["push", "--quiet", "origin", "HEAD", "annotated"]).map(drop)
}

#[test]
fn archives_have_what_git_puts_into_them() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    fill(&bed, &work)?;
    let (git, remote) = (&bed.bed.git, format!("--remote={}", bed.url()));
    let branch = git.ok(&work, &["rev-parse", "--abbrev-ref", "HEAD"])?;
    for case in [
        &["HEAD"][..],
        &[branch.trim()],
        &["--prefix=release-1/", "annotated"],
        &["--prefix=x-", "refs/tags/annotated"],
        &["--format=tgz", "-9", "HEAD"],
        &["--format=tar.gz", "HEAD", "src"],
        &["--format=zip", "--prefix=release/", "HEAD"],
        &["--format=zip", "-0", "HEAD"],
        &["HEAD:src"],
        &["HEAD:src/deep/"],
        &["HEAD", "src/main.c", "run.sh"],
        &["HEAD", "src/*.c"],
        &["-v", "HEAD", "src/deep/"],
    ] {
        // The tree alone has no time.
        let times = if case.iter().any(|word| word.contains(':')) { "none" } else { "times" };
        git.ok(&work, &[&["archive", "--output=../ours", &remote], case].concat())?;
        git.ok(&work, &[&["archive", "--output=../gits"], case].concat())?;
        let [ours, gits] = ["ours", "gits"].map(|name| python::run(LIST, &[name, times], &bed.home()));
        assert_eq!(ours?, gits?, "{case:?}");
    }
    assert_eq!(git.ok(&work, &["archive", &remote, "--list"])?, "tar\ntgz\ntar.gz\nzip\n");
    Ok(())
}

#[test]
fn what_is_no_reference_or_no_path_is_refused_in_words() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let remote = format!("--remote={}", bed.url());
    let tip = bed.bed.git.ok(&work, &["rev-parse", "HEAD"])?;
    for (case, told) in [
        (&[tip.trim()][..], "no such ref"),
        (&["HEAD~1"], "no such ref: HEAD~1"),
        (&["none"], "no such ref: none; only branches and tags"),
        (&["HEAD:none"], "there is no folder none"),
        (&["HEAD", "none"], "pathspec 'none' did not match any files"),
        (&["--format=rar", "HEAD"], "archive format rar is not known"),
        (&["--mtime=yesterday", "HEAD"], "--mtime is not supported"),
    ] {
        let refusal = bed.bed.git.run(&work, &[&["archive", "--output=../none", &remote], case].concat())?.refused()?;
        // This git does not know the option yet, and says so by itself.
        assert!(refusal.contains(told) || refusal.contains("unknown option"), "{case:?}: {refusal}");
    }
    let refusal = bed.git("carol", &work, &["archive", &remote, "HEAD"])?.refused()?;
    assert!(refusal.contains("was not found, or no AccessPolicy allows"), "{refusal}");
    Ok(())
}
