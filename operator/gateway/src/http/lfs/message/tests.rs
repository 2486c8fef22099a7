use proptest::prelude::*;
use serde_json::json;

use super::*;

fn batch(value: &Value) -> Result<BatchRequest, Refusal> {
    BatchRequest::parse(value.to_string().as_bytes())
}

fn object() -> Value {
    json!({"oid": "a".repeat(64), "size": 3})
}

#[test]
fn the_batch_of_the_specification_is_understood() {
    let parsed = batch(&json!({
        "operation": "upload", "transfers": ["lfs-standalone-file", "basic"], "ref": {"name": "refs/heads/main"},
        "objects": [object()], "hash_algo": "sha256", "of_a_later_version": [1],
    }))
    .unwrap();
    assert_eq!(parsed.operation, Operation::Upload);
    assert_eq!(parsed.reference().unwrap(), Some(RefName::branch("main").unwrap()));
    assert!(parsed.is_sha256());
    assert_eq!(parsed.objects[0].wanted().unwrap().size, 3);
    let bare = batch(&json!({"operation": "download", "ref": null, "objects": []})).unwrap();
    assert_eq!(bare.reference().unwrap(), None);
}

#[test]
fn what_is_wrong_with_a_batch_is_said() {
    let status = |value: &Value| batch(value).unwrap_err().status.as_u16();
    assert_eq!(status(&json!({"operation": "delete", "objects": []})), 422);
    assert_eq!(status(&json!({"operation": "upload"})), 422);
    assert_eq!(status(&json!({"operation": "upload", "objects": [], "transfers": ["ssh"]})), 422);
    assert_eq!(status(&json!({"operation": "upload", "objects": [], "ref": {"name": "main"}})), 422);
    let many: Vec<Value> = (0..=MAX_OBJECTS).map(|_| object()).collect();
    assert_eq!(status(&json!({"operation": "upload", "objects": many})), 413);
    assert!(!batch(&json!({"operation": "upload", "objects": [], "hash_algo": "sha512"})).unwrap().is_sha256());
}

#[test]
fn what_is_wrong_with_an_object_is_said_about_it_alone() {
    for wrong in [
        json!({"oid": "abc", "size": 1}),
        json!({"size": 1}),
        json!({"oid": "a".repeat(64), "size": -1}),
        json!({"oid": "a".repeat(64), "size": 1.5}),
        json!({"oid": "a".repeat(64)}),
        json!({"oid": 7, "size": 1}),
    ] {
        let parsed = batch(&json!({"operation": "upload", "objects": [wrong, object()]})).unwrap();
        assert!(parsed.objects[0].wanted().is_err(), "{wrong}");
        assert!(parsed.objects[1].wanted().is_ok());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_understood_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = BatchRequest::parse(&bytes);
        let _ = LockRequest::parse(&bytes);
        let _ = UnlockRequest::parse(&bytes);
        let _ = Page::parse(&bytes);
        let _ = Pointer::parse(&bytes);
    }

    #[test]
    fn what_is_nested_deep_is_refused(depth in 129_usize..4_000) {
        let nested = format!("{{\"operation\":\"upload\",\"objects\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        prop_assert!(BatchRequest::parse(nested.as_bytes()).is_err());
    }

    #[test]
    fn an_object_is_what_it_says_or_refused(oid in "\\PC{0,70}|[0-9a-f]{64}", size in any::<i64>()) {
        let pointer = Pointer::parse(json!({"oid": oid, "size": size}).to_string().as_bytes()).unwrap();
        match pointer.wanted() {
            Ok(wanted) => prop_assert_eq!((wanted.oid.to_string(), i64::try_from(wanted.size).unwrap()), (oid, size)),
            Err(_) => prop_assert!(size < 0 || oid.len() != 64 || !oid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))),
        }
    }
}

#[test]
fn a_refusal_does_not_repeat_all_that_was_sent() {
    // Found by the fuzz target `lfs_json`: a body of a megabyte came back whole.
    let long = format!("{{\"operation\":\"\u{7}{}\",\"objects\":[]}}", "x".repeat(500_000)).replace('\u{7}', "\\u0007");
    let refusal = BatchRequest::parse(long.as_bytes()).unwrap_err();
    assert!(refusal.line.len() < 300, "{} bytes", refusal.line.len());
    assert!(refusal.line.contains("unknown variant `xxx"), "{}", refusal.line);
    let name = format!("{{\"path\":\"a\",\"ref\":{{\"name\":\"refs/heads/{}\"}}}}", "x".repeat(500_000));
    assert!(LockRequest::parse(name.as_bytes()).err().unwrap().line.len() < 300);
}
