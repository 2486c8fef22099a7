use std::collections::BTreeMap;

use model::{ObjectId, RefName, RefValue};

use super::{Service, Version, advertise, announce, capabilities_v2, session};
use crate::pktline::{Packet, ReadLimits, Reader};
use crate::view::ReferencesView;

fn shown(service: Service, version: Version, refs: &[&str]) -> String {
    let id = ObjectId::from_hex(b"1234567890123456789012345678901234567890").unwrap();
    let value = RefValue { id, peeled: None };
    let refs: BTreeMap<_, _> = refs.iter().map(|name| (RefName::try_from(*name).unwrap(), value)).collect();
    let head = RefName::try_from("refs/heads/main").unwrap();
    let view = ReferencesView { all: &refs, head: Some(&head), format: model::ObjectFormat::Sha1 };
    String::from_utf8(advertise(service, version, &view)).unwrap()
}

#[test]
fn an_empty_repository_says_what_it_can() {
    let text = shown(Service::UploadPack, Version::V0, &[]);
    assert!(text.starts_with("001e# service=git-upload-pack\n0000"), "{text}");
    assert!(text.contains("0000000000000000000000000000000000000000 capabilities^{}\0multi_ack_detailed"), "{text}");
    assert!(!text.contains("symref"), "HEAD points nowhere");
    assert!(
        shown(Service::ReceivePack, Version::V2, &[])
            .contains("capabilities^{}\0report-status report-status-v2 delete-refs")
    );
}

#[test]
fn references_come_in_order_and_hidden_ones_do_not() {
    let refs = ["refs/heads/main", "refs/codekeep/pulls/1", "refs/heads/a"];
    let text = shown(Service::UploadPack, Version::V1, &refs);
    assert!(text.contains("000eversion 1\n"), "{text}");
    assert!(text.contains(" HEAD\0multi_ack_detailed"), "{text}");
    assert!(text.contains("symref=HEAD:refs/heads/main"), "{text}");
    assert!(!text.contains("codekeep/pulls"), "{text}");
    assert!(text.find("refs/heads/a\n").unwrap() < text.find("refs/heads/main\n").unwrap());
    let push = shown(Service::ReceivePack, Version::V0, &refs);
    assert!(!push.contains("HEAD") && push.contains(" refs/heads/a\0report-status"), "{push}");
}

/// The lines of a list, the empty ones being flush packets.
fn lines(mut list: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(&mut list, ReadLimits::default());
    let mut lines = Vec::new();
    while let Some(packet) = reader.read().unwrap() {
        lines.push(if let Packet::Data(line) = packet {
            String::from_utf8(line.to_vec()).unwrap()
        } else {
            String::new()
        });
    }
    lines
}

#[test]
fn what_is_announced_to_one_client_leaves_the_list_as_it_is() {
    let more = session("4f2a-1");
    for service in [Service::UploadPack, Service::ReceivePack] {
        for version in [Version::V0, Version::V1] {
            for refs in [&[][..], &["refs/heads/main", "refs/heads/other", "refs/tags/v1"]] {
                let list = shown(service, version, refs);
                let (head, rest) = announce(list.as_bytes(), &more);
                let told = String::from_utf8([&head, &list.as_bytes()[rest..]].concat()).unwrap();
                let told = lines(told.as_bytes());
                let expected = lines(list.as_bytes()).into_iter().map(|line| match line.strip_suffix('\n') {
                    Some(text) if text.contains('\0') => format!("{text} {more}\n"),
                    _ => line,
                });
                assert_eq!(told, expected.collect::<Vec<_>>());
                assert_eq!(told.iter().filter(|line| line.contains(&more)).count(), 1, "{told:?}");
            }
        }
    }
    assert_eq!(announce(b"", "x"), (vec![], 0));
    assert_eq!(announce(b"0000", "x"), (vec![], 0));
    assert_eq!(announce(b"zzzz\0\0\0", "x"), (vec![], 0));
}

#[test]
fn version_2_lists_capabilities_only() {
    let text = String::from_utf8(capabilities_v2(model::ObjectFormat::Sha1, "4f2a", false)).unwrap();
    assert!(text.starts_with("000eversion 2\n"), "{text}");
    for line in [
        "ls-refs=unborn\n",
        "fetch=shallow wait-for-done filter ref-in-want sideband-all\n",
        "server-option\n",
        "object-info\n",
        "0014session-id=4f2a\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.ends_with("0000"), "{text}");
    assert!(!text.contains("bundle-uri"), "{text}");
    let text = String::from_utf8(capabilities_v2(model::ObjectFormat::Sha1, "4f2a", true)).unwrap();
    assert!(text.contains("000fbundle-uri\n"), "{text}");
}

#[test]
fn the_highest_known_version_is_taken() {
    for (header, version) in [
        (None, Version::V0),
        (Some("version=2"), Version::V2),
        (Some("version=1"), Version::V1),
        (Some("version=1:version=2"), Version::V2),
        (Some("version=2:version=1"), Version::V2),
        (Some("version=3"), Version::V0),
        (Some("garbage::=,"), Version::V0),
    ] {
        assert_eq!(Version::from_header(header), version, "{header:?}");
    }
}
