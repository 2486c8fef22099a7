//! `git index-pack --strict` is the oracle: it is what `receive.fsckObjects` runs.

use std::{io::Write as _, path::Path, process::Command};

use gix::{ObjectId, objs::Kind};

use super::{Mentions, check, gitattributes, gitmodules};
use crate::testing::format;

#[derive(Default)]
struct Seen {
    links: Vec<(ObjectId, Kind)>,
    modules: Vec<ObjectId>,
    attributes: Vec<ObjectId>,
}

impl Mentions for Seen {
    fn link(&mut self, id: &gix::oid, kind: Kind) {
        self.links.push((id.to_owned(), kind));
    }
    fn gitmodules(&mut self, id: &gix::oid) {
        self.modules.push(id.to_owned());
    }
    fn gitattributes(&mut self, id: &gix::oid) {
        self.attributes.push(id.to_owned());
    }
}

/// The id of the blob that each oracle has.
fn a_blob() -> ObjectId {
    gix::objs::compute_hash(format(), Kind::Blob, b"x\n").unwrap()
}

/// The id of the empty tree, which each oracle has.
fn a_tree() -> ObjectId {
    format().empty_tree()
}

/// The name of the rule that we find broken.
fn ours(kind: Kind, data: &[u8]) -> Option<&'static str> {
    check(kind, data, format(), &mut Seen::default()).err().map(|problem| problem.id())
}

/// The name of the rule that git finds broken, with warnings raised as on receive.
struct Oracle(tempfile::TempDir);

impl Oracle {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        write(dir.path(), Kind::Blob, b"x\n");
        write(dir.path(), Kind::Tree, b"");
        Self(dir)
    }

    fn verdict(&self, kind: Kind, data: &[u8]) -> Option<String> {
        let dir = self.0.path();
        let id = write(dir, kind, data);
        let list = dir.join("list");
        std::fs::write(&list, format!("{id}\n")).unwrap();
        let packed = Command::new("sh")
            .args(["-c", "git pack-objects --stdout -q < list > one.pack && git index-pack --strict one.pack"])
            .current_dir(dir)
            .output()
            .unwrap();
        rule_in(&packed)
    }
}

/// The first rule that git names. Some objects it cannot even parse, which it says in other words.
fn rule_in(output: &std::process::Output) -> Option<String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let rule = errors.lines().find(|line| line.starts_with("error: object")).and_then(|line| line.split(": ").nth(2));
    let unnamed = ["fatal: invalid commit", "fatal: invalid tag", "fatal: Not all child objects"];
    let unnamed = unnamed.iter().any(|words| errors.contains(words));
    assert!(output.status.success() != (unnamed || rule.is_some()), "unexpected answer: {errors}");
    rule.or_else(|| unnamed.then_some(UNNAMED)).map(str::to_owned)
}

const UNNAMED: &str = "not parsed";

#[track_caller]
fn assert_agreed(ours: Option<&str>, theirs: Option<&str>, what: &str) {
    if theirs == Some(UNNAMED) {
        assert!(ours.is_some(), "git refuses {what}");
    } else {
        assert_eq!(ours, theirs, "{what}");
    }
}

fn git(dir: &Path, args: &[&str]) {
    assert!(Command::new("git").args(args).current_dir(dir).status().unwrap().success());
}

/// Writes a loose object without asking git what it thinks of it.
fn write(dir: &Path, kind: Kind, data: &[u8]) -> ObjectId {
    let mut child = Command::new("git")
        .args(["hash-object", "-w", "--literally", "--stdin", "-t", &kind.to_string()])
        .current_dir(dir)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(data).unwrap();
    let output = child.wait_with_output().unwrap();
    ObjectId::from_hex(output.stdout.trim_ascii()).unwrap()
}

fn commit_with(author: &str) -> Vec<u8> {
    let tree = a_tree();
    format!("tree {tree}\nauthor {author}\ncommitter A <a@b> 1 +0000\n\nx").into_bytes()
}

#[test]
fn commits_are_judged_as_by_git() {
    let oracle = Oracle::new();
    let (who, tree) = ("A <a@b> 1 +0000", a_tree().to_string());
    let mut commits: Vec<Vec<u8>> = [
        "A <a@b> 1 +0000",
        " <a@b> 1 +0000",
        "<a@b> 1 +0000",
        "A a@b 1 +0000",
        "A> <a@b> 1 +0000",
        "A<a@b> 1 +0000",
        "A <a<b> 1 +0000",
        "A <a@b 1 +0000",
        "A <a@b>1 +0000",
        "A <a@b>  1 +0000",
        "A <a@b> x +0000",
        "A <a@b> 01 +0000",
        "A <a@b> 0 +0000",
        "A <a@b> 9223372036854775807 +0000",
        "A <a@b> 9223372036854775808 +0000",
        "A <a@b> 99999999999999999999999999 +0000",
        "A <a@b> 1",
        "A <a@b> 1 ",
        "A <a@b> 1 0000",
        "A <a@b> 1 +000",
        "A <a@b> 1 +00000",
        "A <a@b> 1 -9999",
        "A <> 1 +0000",
        "",
    ]
    .iter()
    .map(|author| commit_with(author))
    .collect();
    commits.extend(
        [
            format!("tree {tree}\n\nx"),
            format!("tree {tree}\nauthor {who}\n\nx"),
            format!("tree {tree}\nauthor {who}\nauthor {who}\ncommitter {who}\n\nx"),
            format!("tree {tree}\ncommitter {who}\nauthor {who}\n\nx"),
            format!("tree {tree}\nauthor {who}\ncommitter {who}\n"),
            format!("tree {tree}\nauthor {who}\ncommitter {who}"),
            format!("tree {tree}\nauthor {who}\ncommitter {who}\n\na\0b"),
            format!("tree {tree}\nauthor {who}\nco\0mmitter {who}\n\nx"),
            format!("tree {tree}\nauthor {who}\ncommitter {who}\nencoding latin1\ngpgsig x\n y\n\nmessage"),
            format!("tree {}\nauthor {who}\ncommitter {who}\n\nx", &tree[1..]),
            format!("tree {tree}0\nauthor {who}\ncommitter {who}\n\nx"),
            format!("author {who}\ncommitter {who}\n\nx"),
            format!("tree {tree}\nparent 12\nauthor {who}\ncommitter {who}\n\nx"),
            "\n".to_owned(),
            String::new(),
        ]
        .into_iter()
        .map(String::into_bytes),
    );
    for commit in commits {
        let text = String::from_utf8_lossy(&commit).into_owned();
        let (ours, theirs) = (ours(Kind::Commit, &commit), oracle.verdict(Kind::Commit, &commit));
        assert_agreed(ours, theirs.as_deref(), &text);
    }
}

#[test]
fn tags_are_judged_as_by_git() {
    let oracle = Oracle::new();
    let (who, blob) = ("A <a@b> 1 +0000", a_blob().to_string());
    for tag in [
        format!("object {blob}\ntype blob\ntag v1\ntagger {who}\n\nx"),
        format!("object {blob}\ntype blob\ntag v1\n\nearly ones had no tagger"),
        format!("object {blob}\ntype blob\ntag a..b\ntagger {who}\n\nx"),
        format!("object {blob}\ntype blob\ntag v1\ntagger A <a@b>\n\nx"),
        format!("object {blob}\ntype blob\n\nx"),
        format!("object {blob}\ntype blub\ntag v1\ntagger {who}\n\nx"),
        format!("object {blob}\ntag v1\ntagger {who}\n\nx"),
        format!("object {}\ntype blob\ntag v1\ntagger {who}\n\nx", &blob[1..]),
        format!("type blob\ntag v1\ntagger {who}\n\nx"),
        format!("object {blob}\ntype blob\ntag v1\ntagger {who}\n"),
        format!("object {blob}\ntype blob\ntag v1\ntagger {who}"),
        format!("object {blob}\ntype blob\nta\0g v1\ntagger {who}\n\nx"),
    ] {
        let (ours, theirs) = (ours(Kind::Tag, tag.as_bytes()), oracle.verdict(Kind::Tag, tag.as_bytes()));
        assert_agreed(ours, theirs.as_deref(), &tag);
    }
}

/// A tree from modes and names, all naming the same blob or the empty tree.
fn tree(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (mode, name) in entries {
        let id = if mode.trim_start_matches('0') == "40000" { a_tree() } else { a_blob() };
        out.extend(mode.as_bytes());
        out.push(b' ');
        out.extend(*name);
        out.push(0);
        out.extend(id.as_slice());
    }
    out
}

#[test]
fn names_in_trees_are_judged_as_by_git() {
    let oracle = Oracle::new();
    let names: &[&[u8]] = &[
        b"a",
        b".",
        b"..",
        b"a/b",
        b".git",
        b".GIT",
        b".Git.",
        b".git ",
        b".git . .",
        b".git::$INDEX",
        b".gitx",
        b".gi",
        b"git~1",
        b"GIT~1",
        b"git~1.",
        b"git~2",
        b"git~10",
        b"a\\.git",
        b"a\\git~1",
        b"\\.git\\b",
        b".git\\hooks",
        b"a\\b",
        b"git",
        b"..git",
        b"...",
        b".\xe2\x80\x8cgit",
        b"\xe2\x80\x8d.git",
        b".g\xe2\x80\xaait",
        b".gi\xe2\x81\xaft",
        b".git\xef\xbb\xbf",
        b".git\xff",
        b".\xff.git",
        b".\xe2\x80\x90git",
        b"caf\xc3\xa9",
        b"con",
        b"a:b",
        b" .git",
        b".g\xc4\xb0t",
    ];
    for name in names {
        let data = tree(&[("100644", name)]);
        let (ours, theirs) = (ours(Kind::Tree, &data), oracle.verdict(Kind::Tree, &data));
        assert_agreed(ours, theirs.as_deref(), &name.escape_ascii().to_string());
    }
    let long = vec![b'x'; 5_000];
    assert_eq!(ours(Kind::Tree, &tree(&[("100644", &long)])), Some("largePathname"));
}

#[test]
fn symbolic_links_called_gitmodules_are_found_as_by_git() {
    let oracle = Oracle::new();
    let names: &[&[u8]] = &[
        b".gitmodules",
        b".GITMODULES",
        b".gitmodules ",
        b".gitmodules.",
        b".gitmodules:x",
        b"gitmod~1",
        b"GITMOD~4",
        b"gitmod~5",
        b"gi7eba~1",
        b"GI7EB~12",
        b"gi7e~123",
        b"gi7eba~0",
        b"gi7ebx~1",
        b"gi~12345",
        b"~1000000",
        b"gi7eba~1.",
        b".gitmod\xe2\x80\x8cules",
        b".gitmodule",
        b"a\\.gitmodules",
        b"a\\gitmod~2",
        b".gitattributes",
        b".gitignore",
        b".mailmap",
        b"gi7eba~12",
        b"gi7eb~1",
    ];
    for name in names {
        let data = tree(&[("120000", name)]);
        let (ours, theirs) = (ours(Kind::Tree, &data), oracle.verdict(Kind::Tree, &data));
        assert_agreed(ours, theirs.as_deref(), &name.escape_ascii().to_string());
    }
}

#[test]
fn order_and_modes_of_trees_are_judged_as_by_git() {
    let oracle = Oracle::new();
    let (file, dir) = ("100644", "40000");
    let trees: &[&[(&str, &[u8])]] = &[
        &[(file, b"a"), (file, b"b")],
        &[(file, b"b"), (file, b"a")],
        &[(file, b"a"), (file, b"a")],
        &[(file, b"a"), (dir, b"a")],
        &[(dir, b"a"), (file, b"a.b")],
        &[(file, b"a.b"), (dir, b"a")],
        &[(file, b"a"), (file, b"a.b"), (dir, b"a")],
        &[(file, b"foo"), (file, b"foo.bar"), (file, b"foo.bar.baz"), (dir, b"foo.bar"), (dir, b"foo")],
        &[(file, b"foo"), (file, b"foo.bar"), (dir, b"foo0")],
        &[(file, b"a"), (file, b"a-b"), (dir, b"a-c"), (file, b"a0")],
        &[(dir, b"a"), (dir, b"a0")],
        &[("100755", b"a"), ("120000", b"b"), ("160000", b"c"), (dir, b"d"), ("100664", b"e")],
        &[("100600", b"a")],
        &[("7", b"a")],
        &[("10064x", b"a")],
        &[("", b"a")],
        &[("170000", b"a")],
        &[(file, b"")],
    ];
    for entries in trees {
        let data = tree(entries);
        let (ours, theirs) = (ours(Kind::Tree, &data), oracle.verdict(Kind::Tree, &data));
        assert_agreed(ours, theirs.as_deref(), &data.escape_ascii().to_string());
    }
    let whole = tree(&[(file, b"abc")]);
    for cut in 1..whole.len() {
        assert_eq!(ours(Kind::Tree, &whole[..cut]), Some("badTree"));
    }
    let null = [b"100644 a\0".as_slice(), format().null().as_slice()].concat();
    assert_eq!(ours(Kind::Tree, &null), Some("nullSha1"));
}

#[test]
fn zero_padded_modes_are_accepted_unlike_by_git() {
    let padded = tree(&[("040000", b"a"), ("0100644", b"b")]);
    assert_eq!(ours(Kind::Tree, &padded), None);
    assert_eq!(Oracle::new().verdict(Kind::Tree, &padded).as_deref(), Some("zeroPaddedFilemode"));
}

/// Files called `.gitmodules`, good and bad.
fn modules() -> Vec<String> {
    let url = |url: &str| format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n");
    let mut texts: Vec<String> = [
        "https://example.com/x.git",
        "-u./x",
        "\"-x\"",
        "../x.git",
        "./x",
        "../../../:x",
        "..//x",
        "./../:x",
        "git://host/a%0ab",
        "git://host/x",
        "https://host/a%0Ab",
        "https://host/a%20b",
        "https:///x",
        "https://host",
        "http::https://host/x",
        "http::x",
        "https::example.com/x",
        "ssh://-oProxyCommand=x/y",
        "file:///x",
        "",
        "ftp://user@host:21/x",
        "https://host/%zz",
        "git@host:x",
        "ext::sh -c x",
        "../%0ax",
        "https://:80/x",
    ]
    .iter()
    .map(|address| url(address))
    .collect();
    texts.extend(
        [
            "[submodule \"..\"]\n\turl = x\n",
            "[submodule \"a/../b\"]\n\turl = x\n",
            "[submodule \"a\\\\..\\\\b\"]\n\turl = x\n",
            "[submodule \"a..b\"]\n\turl = x\n",
            "[submodule \"\"]\n\turl = x\n",
            "[submodule.a/b]\n\turl = -x\n",
            "[submodule.ab]\n\turl = -x\n",
            "[submodule \"x\"] url = -x",
            "[SubModule \"x\"]\n\tURL = -x\n",
            "[submodule \"x\"]\n\turl = a \\\n -x\n",
            "[submodule \"x\"]\n\turl = \\\n-x\n",
            "[submodule \"x\"]\r\n\turl = -x\r\n",
            "[submodule \"x\"]\n\turl ; = -x\n",
            "[submodule \"x\"]\n\turl\n[submodule \"y\"]\n\turl = -x\n",
            "# c\n; d\n[submodule \"x\"] # e\n\turl = ok ; -x\n\tpath = -p\n",
            "[submodule \"x\"]\n\tpath = -p\n",
            "[submodule \"x\"]\n\tupdate = !rm\n",
            "[submodule \"x\"]\n\tupdate = rebase\n",
            "[broken\n[submodule \"x\"]\n\turl = -x\n",
            "[submodule \"x\"]\n\turl = \"unclosed\n\turl = -x\n",
            "[submodule \"x\"]\n\turl = a\n\t= b\n\turl = -x\n",
            "[submodule]\n\turl = -x\n",
            "[other \"..\"]\n\turl = -x\n",
            "",
        ]
        .map(str::to_owned),
    );
    texts
}

#[test]
fn modules_are_judged_as_by_git() {
    let oracle = Oracle::new();
    for text in modules() {
        let blob = write(oracle.0.path(), Kind::Blob, text.as_bytes());
        let data = [b"100644 .gitmodules\0", blob.as_slice()].concat();
        let theirs = oracle.verdict_of_both(&data, &blob);
        let ours = gitmodules(Kind::Blob, text.as_bytes()).err().map(|problem| problem.id());
        assert_agreed(ours, theirs.as_deref(), &text);
    }
    assert_eq!(gitmodules(Kind::Tree, b"").unwrap_err().id(), "gitmodulesBlob");
    // git's check stumbles over a byte order mark; the git that reads the file from a work tree does not.
    let marked = "\u{feff}[submodule \"x\"]\n\turl = -x\n";
    assert_eq!(gitmodules(Kind::Blob, marked.as_bytes()).unwrap_err().id(), "gitmodulesUrl");
}

impl Oracle {
    /// The verdict on a tree packed together with a blob that it names.
    fn verdict_of_both(&self, tree: &[u8], blob: &ObjectId) -> Option<String> {
        let dir = self.0.path();
        let id = write(dir, Kind::Tree, tree);
        std::fs::write(dir.join("list"), format!("{id}\n{blob}\n")).unwrap();
        let packed = Command::new("sh")
            .args(["-c", "git pack-objects --stdout -q < list > one.pack && git index-pack --strict one.pack"])
            .current_dir(dir)
            .output()
            .unwrap();
        rule_in(&packed)
    }
}

#[test]
fn attributes_are_bounded_as_in_git() {
    assert!(gitattributes(Kind::Blob, b"*.c diff=cpp\n").is_ok());
    let at_limit = [b"x".repeat(2_047), b"\n".to_vec()].concat();
    assert!(gitattributes(Kind::Blob, &at_limit).is_ok());
    assert_eq!(gitattributes(Kind::Blob, &b"x".repeat(2_048)).unwrap_err().id(), "gitattributesLineLength");
    assert_eq!(gitattributes(Kind::Tree, b"").unwrap_err().id(), "gitattributesBlob");
}

#[test]
fn mentions_are_told() {
    let data =
        tree(&[("40000", b"dir"), ("100644", b".gitmodules"), ("160000", b"sub"), ("100644", b".gitattributes")]);
    let mut entries: Vec<_> = Vec::new();
    let mut seen = Seen::default();
    // Sorted: the fixture above is not.
    for (mode, name) in [("100644", ".gitattributes"), ("100644", ".gitmodules"), ("40000", "dir"), ("160000", "sub")] {
        entries.push((mode, name.as_bytes()));
    }
    assert!(check(Kind::Tree, &data, format(), &mut Seen::default()).is_err());
    check(Kind::Tree, &tree(&entries), format(), &mut seen).unwrap();
    assert_eq!(seen.links.len(), 3, "submodules are elsewhere");
    assert_eq!((seen.modules.len(), seen.attributes.len()), (1, 1));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None,
        ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        for kind in [Kind::Commit, Kind::Tree, Kind::Tag, Kind::Blob] {
            let _ = check(kind, &data, format(), &mut Seen::default());
        }
        let _ = gitmodules(Kind::Blob, &data);
        let _ = gitattributes(Kind::Blob, &data);
    }

    #[test]
    fn arbitrary_modules_never_panic(text in "(\\[submodule \"|\"\\]|\n|url|path|=| |\\\\|\"|#|\\.\\.|-|a){0,40}") {
        let _ = gitmodules(Kind::Blob, text.as_bytes());
    }
}
