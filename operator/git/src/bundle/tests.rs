use super::*;

fn id() -> ObjectId {
    ObjectId::Sha1([0xab; 20])
}

#[test]
fn a_header_names_what_is_in_the_pack() {
    let references: [(ObjectId, &[u8]); 2] = [(id(), b"HEAD"), (id(), b"refs/heads/main")];
    let hex = "ab".repeat(20);
    let expected = format!("# v2 git bundle\n{hex} HEAD\n{hex} refs/heads/main\n\n");
    assert_eq!(header(references), expected.as_bytes());
}

#[test]
fn a_list_holds_the_keys_that_git_reads() {
    let place = Place { uri: "https://bucket.example/a?X=1&Y=2", creation_token: 17 };
    let text = String::from_utf8(list(Some(place))).unwrap();
    let expected = "0014bundle.version=1\
                    0013bundle.mode=all\
                    0022bundle.heuristic=creationToken\
                    003ebundle.default-branch.uri=https://bucket.example/a?X=1&Y=2\
                    002abundle.default-branch.creationtoken=17\
                    0000";
    assert_eq!(text, expected);
    assert_eq!(list(None), b"0000");
}
