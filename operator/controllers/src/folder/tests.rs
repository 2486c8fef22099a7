use std::fs;
use std::path::{Path, PathBuf};

use model::desired::{Deletion, DesiredState};
use model::policy::{AccessRequest, Action, Principal, ReferenceScope};
use model::{RefName, RepositoryPath};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Folder, Loaded, Reading};
use crate::problem::Severity;

fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn stores() -> Vec<String> {
    vec!["default".to_owned()]
}

fn load(dir: &Path) -> Loaded {
    Folder::new(dir, stores()).load().unwrap()
}

fn with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn shown(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(ToString::to_string).collect()
}

fn paths(desired: &DesiredState) -> Vec<String> {
    desired.repositories.keys().map(ToString::to_string).collect()
}

fn allowed_in(namespace: &str, desired: &DesiredState, user: &str, action: Action, reference: Option<&str>) -> bool {
    let repository: RepositoryPath = format!("{namespace}/hello").parse().unwrap();
    let reference = reference.map(|name| RefName::try_from(name).unwrap());
    let principal = Principal::LocalUser { namespace: repository.namespace.clone(), name: user.to_owned() };
    let request = AccessRequest {
        principal: &principal,
        action,
        repository: &repository,
        labels: &desired.repositories[&repository].labels,
        reference: reference.as_ref().map_or(ReferenceScope::Whole, ReferenceScope::One),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    desired.policies.evaluate(&request).is_allowed()
}

/// Alice of the namespace may do what the sample's policy says.
fn assert_is_the_sample(loaded: &Loaded, namespace: &str) {
    let desired = &loaded.desired;
    let problems = shown(loaded);
    assert!(
        problems.iter().all(|problem| problem.contains("warning: spec.subjects[1]: never matches")),
        "{problems:#?}"
    );
    assert!(paths(desired).contains(&format!("{namespace}/hello")));
    let credentials = &desired.credentials[&namespace.parse().unwrap()];
    assert_eq!(credentials[0].username, "alice");
    let allowed = |user, action, reference| allowed_in(namespace, desired, user, action, reference);
    assert!(allowed("alice", Action::GitPull, None));
    assert!(allowed("alice", Action::GitPush, Some("refs/heads/main")));
    assert!(!allowed("alice", Action::GitPush, Some("refs/heads/release/1")));
    assert!(!allowed("bob", Action::GitPull, None));
}

#[test]
fn the_samples_are_valid_and_give_alice_a_repository() {
    let loaded = load(&repository_root().join("config/samples"));
    // Without a namespace they are for any: `kubectl apply -n NAMESPACE -f config/samples`.
    assert_is_the_sample(&loaded, "default");
    assert_eq!(paths(&loaded.desired), ["default/hello", "default/shared/tools"]);
    assert_eq!(loaded.desired.rules.len(), 1);
    assert!(loaded.desired.rules[0].targets[0].signing_key.is_some());
}

/// The manifests as users were promised them; they must stay valid for ever.
const PROMISED: &str = include_str!("tests/promised.yaml");

#[test]
fn the_promised_manifests_are_valid_as_they_stand() {
    let hook_key =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: hook-key, namespace: team-a}\nstringData: {key: x}\n";
    let dir = with(&[("promised.yaml", PROMISED), ("key.yaml", hook_key)]);
    let loaded = load(dir.path());
    assert_is_the_sample(&loaded, "team-a");
    assert_eq!(loaded.desired.rules[0].targets[0].url.as_str(), "https://ci.example.com/hook");
}

#[test]
fn all_problems_of_a_broken_folder_are_listed_and_the_good_documents_serve() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/folder/tests");
    let loaded = load(&here.join("broken"));
    let found = shown(&loaded).join("\n") + "\n";
    let golden = here.join("broken.golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(golden).unwrap());
    assert_eq!(paths(&loaded.desired), ["default/no-namespace", "team-a/app", "team-a/app2", "team-a/good"]);
    assert!(!found.contains("tell-nobody"));
}

const REPOSITORY: &str =
    "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: NAME, namespace: a}\nspec: {}\n";

fn repository(name: &str) -> String {
    REPOSITORY.replace("NAME", name)
}

#[test]
fn a_mistake_never_looks_like_a_deletion() {
    let both = format!("{}---\n{}", repository("one"), repository("two"));
    let dir = with(&[("a.yaml", &both), ("b.yaml", &repository("three"))]);
    let folder = Folder::new(dir.path(), stores());
    let mut reading = Reading::default();
    let mut read = || reading.apply(&folder.list().unwrap(), folder.scope());
    let all = ["a/one", "a/three", "a/two"];
    assert_eq!(paths(&read().desired), all);

    let mistakes = [
        "spec: [".to_owned(),
        format!("{}---\n{}", repository("one"), "a: b\n"),
        format!("{}---\n{}", repository("one"), repository("two").replace("kind: Repository", "kind: Repsitory")),
        format!("{}---\n{}", repository("one"), repository("two").replace("codekeep.dev/", "codekep.dev/")),
        format!("{}---\n{}", repository("one"), repository("two").replace("spec: {}", "spec: {store: other}")),
        format!("{}---\n{}", repository("one"), repository("two").replace("name: two", "nam: two")),
        format!("{}---\n{}", repository("one"), repository("two").replace("spec: {}", "spec: {repositoryName: 2}")),
        format!(
            "{}---\n{}",
            repository("one"),
            repository("two").replace("spec: {}", "spec: {repositoryName: renamed}")
        ),
        "\u{0}".to_owned(),
    ];
    for mistake in mistakes {
        write(dir.path(), "a.yaml", &mistake);
        let loaded = read();
        assert_eq!(paths(&loaded.desired), all, "{mistake}");
        assert!(loaded.has_errors(), "{mistake}");
    }
    fs::write(dir.path().join("a.yaml"), b"\xff").unwrap();
    assert_eq!(paths(&read().desired), all);

    write(dir.path(), "a.yaml", &repository("one"));
    let loaded = read();
    assert_eq!((paths(&loaded.desired), loaded.has_errors()), (vec!["a/one".to_owned(), "a/three".to_owned()], false));
}

#[test]
fn who_was_there_first_keeps_a_name() {
    let dir = with(&[("b.yaml", &repository("one").replace("spec: {}", "spec: {description: first}"))]);
    let folder = Folder::new(dir.path(), stores());
    let mut reading = Reading::default();
    reading.apply(&folder.list().unwrap(), folder.scope());
    write(dir.path(), "a.yaml", &repository("other").replace("spec: {}", "spec: {repositoryName: one}"));
    let loaded = reading.apply(&folder.list().unwrap(), folder.scope());
    let config = &loaded.desired.repositories[&"a/one".parse().unwrap()];
    assert_eq!(config.description, "first");
    let wanted =
        "a.yaml:4: spec.repositoryName: a/one is the name of Repository a/one already, b.yaml:1; choose another";
    assert_eq!(shown(&loaded), [wanted]);
}

#[test]
fn a_config_map_mount_is_read_once() {
    let dir = with(&[("..2026_01/one.yaml", &repository("one"))]);
    std::os::unix::fs::symlink("..2026_01", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/one.yaml", dir.path().join("one.yaml")).unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
    let loaded = load(dir.path());
    assert_eq!((paths(&loaded.desired), shown(&loaded)), (vec!["a/one".to_owned()], vec![]));
    let before = Folder::new(dir.path(), stores()).list().unwrap();

    write(dir.path(), "..2026_02/one.yaml", &repository("two"));
    std::os::unix::fs::symlink("..2026_02", dir.path().join("..next")).unwrap();
    fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
    assert_ne!(before, Folder::new(dir.path(), stores()).list().unwrap());
    assert_eq!(paths(&load(dir.path()).desired), ["a/two"]);
}

#[test]
fn lists_json_and_other_kinds_are_understood() {
    let list =
        format!("kind: List\napiVersion: v1\nitems:\n- {}\n", repository("one").trim_end().replace('\n', "\n  "));
    let json = r#"{"apiVersion": "codekeep.dev/v1alpha1", "kind": "Repository", "metadata": {"name": "two", "namespace": "a"}, "spec": {}}"#;
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {}\nspec: {a: 1, a: 2}\n---\n# nothing\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: 1}\n";
    let dir = with(&[
        ("list.yaml", &list),
        ("deep/er/two.json", json),
        ("other.yml", other),
        ("kustomization.yaml", "x: ["),
        ("notes.txt", "x: ["),
        (".hidden.yaml", "x: ["),
    ]);
    let loaded = load(dir.path());
    assert_eq!((paths(&loaded.desired), shown(&loaded)), (vec!["a/one".to_owned(), "a/two".to_owned()], vec![]));
}

#[test]
fn deletion_needs_the_policy_and_the_annotation() {
    let delete = |annotation: &str| {
        let text = repository("one").replace("spec: {}", "spec: {deletionPolicy: Delete}");
        let text = text.replace(
            "namespace: a}",
            &format!("namespace: a, annotations: {{codekeep.dev/confirm-deletion: {annotation}}}}}"),
        );
        let loaded = load(with(&[("a.yaml", &text)]).path());
        (loaded.desired.repositories[&"a/one".parse().unwrap()].deletion, loaded.problems.len())
    };
    assert_eq!(delete("one"), (Deletion::Delete, 0));
    assert_eq!(delete("another"), (Deletion::Retain, 1));
    assert_eq!(
        load(with(&[("a.yaml", &repository("one"))]).path()).desired.repositories.values().next().unwrap().deletion,
        Deletion::Retain
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_a_large_file_a_problem() {
    assert!(Folder::new("/nonexistent", stores()).load().is_err());
    let dir = with(&[("good.yaml", &repository("one"))]);
    fs::File::create(dir.path().join("large.yaml")).unwrap().set_len(9 << 20).unwrap();
    std::os::unix::fs::symlink("/nonexistent", dir.path().join("link.yaml")).unwrap();
    let loaded = load(dir.path());
    assert_eq!(paths(&loaded.desired), ["a/one"]);
    assert!(loaded.problems.iter().all(|problem| problem.severity == Severity::Error));
    assert_eq!(loaded.problems.len(), 2, "{:#?}", shown(&loaded));
}

/// Pieces that documents of ours are made of, and that break them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("apiVersion: codekeep.dev/v1alpha1\n".to_owned()),
        Just("kind: Repository\n".to_owned()),
        Just("kind: AccessPolicy\n".to_owned()),
        Just("kind: NotificationRule\n".to_owned()),
        Just("metadata: {name: a}\n".to_owned()),
        Just("spec:\n  ".to_owned()),
        Just("subjects: [{kind: LocalUser, name: a}]\n  ".to_owned()),
        Just("statements: &x\n  - sid: ".to_owned()),
        Just("defaultBranch: \"".to_owned()),
        Just("*x\n".to_owned()),
        Just("---\n".to_owned()),
        Just("? ".to_owned()),
        "[ -~\n]{0,12}",
        "\\PC{0,6}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), bytes).unwrap();
        load(dir.path());
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in pieces()) {
        load(with(&[("a.yaml", &text)]).path());
    }

    #[test]
    fn a_sample_with_one_byte_changed_does_not_make_the_loader_panic(at in 0..PROMISED.len(), byte in any::<u8>()) {
        let mut bytes = PROMISED.as_bytes().to_vec();
        bytes[at] = byte;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), bytes).unwrap();
        load(dir.path());
    }
}
