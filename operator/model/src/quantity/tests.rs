use super::parse_bytes;

#[test]
fn sizes_are_read_as_kubernetes_writes_them() {
    for (text, bytes) in
        [("0", 0), ("1500", 1_500), ("2k", 2_000), ("512Mi", 512 << 20), ("10Gi", 10 << 30), ("1T", 1_000_000_000_000)]
    {
        assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
    }
}

#[test]
fn anything_else_is_refused() {
    for text in ["", "Gi", "-1", "+1", "1.5Gi", "1 Gi", "1gi", "99999999999999999999", "18446744073709551615Ki"] {
        assert!(parse_bytes(text).is_err(), "{text}");
    }
}
