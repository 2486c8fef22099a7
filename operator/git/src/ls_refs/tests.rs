use std::collections::BTreeMap;

use model::{ObjectId, RefName, RefValue};

use super::{Request, respond};
use crate::view::ReferencesView;

fn listed(request: &Request, refs: &[&str]) -> String {
    let id = ObjectId::from_hex(b"1234567890123456789012345678901234567890").unwrap();
    let value = RefValue { id, peeled: None };
    let refs: BTreeMap<_, _> = refs.iter().map(|name| (RefName::try_from(*name).unwrap(), value)).collect();
    let head = RefName::try_from("refs/heads/main").unwrap();
    let view = ReferencesView { all: &refs, head: Some(&head), format: model::ObjectFormat::Sha1 };
    let mut out = Vec::new();
    respond(request, &view, &mut out).unwrap();
    String::from_utf8(out).unwrap().replace("1234567890123456789012345678901234567890", "ID")
}

const REFS: [&str; 4] = ["refs/heads/main", "refs/heads/mainland", "refs/codekeep/x", "refs/tags/v1"];

#[test]
fn everything_visible_is_listed_without_prefixes() {
    let request = Request { symrefs: true, peel: true, ..Request::default() };
    assert_eq!(
        listed(&request, &REFS),
        "0050ID HEAD symref-target:refs/heads/main\n003dID refs/heads/main\n0041ID refs/heads/mainland\n003aID refs/tags/v1\n0000"
    );
}

#[test]
fn prefixes_that_overlap_list_each_reference_once() {
    let request = Request {
        prefixes: vec!["refs/heads/main".into(), "refs/heads/".into(), "refs/heads/mainl".into()],
        ..Request::default()
    };
    assert_eq!(listed(&request, &REFS), "003dID refs/heads/main\n0041ID refs/heads/mainland\n0000");
    let hidden = Request { prefixes: vec!["refs/codekeep/".into()], ..Request::default() };
    assert_eq!(listed(&hidden, &REFS), "0000", "hidden even when named");
}

#[test]
fn an_unborn_head_is_told_only_when_asked() {
    let request = Request { unborn: true, symrefs: true, ..Request::default() };
    assert_eq!(listed(&request, &[]), "002eunborn HEAD symref-target:refs/heads/main\n0000");
    assert_eq!(listed(&Request::default(), &[]), "0000");
}
