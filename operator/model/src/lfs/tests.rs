use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn an_oid_has_one_spelling(bytes in any::<[u8; 32]>()) {
        let text = Oid::of(bytes).to_string();
        prop_assert_eq!(text.parse(), Ok(Oid::of(bytes)));
        let upper = text.to_uppercase();
        prop_assert_eq!(upper.parse::<Oid>().is_ok(), upper == text);
    }

    #[test]
    fn any_text_is_parsed_without_a_panic(text in "\\PC{0,80}") {
        let _ = (text.parse::<Oid>(), text.parse::<LockPath>(), LockId::parse(&text));
    }
}

#[test]
fn what_is_no_oid_is_refused() {
    for text in ["", "abc", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &format!("{}/..", "a".repeat(61))] {
        assert_eq!(text.parse::<Oid>(), Err(OidError), "{text}");
    }
}

#[test]
fn a_path_has_one_spelling() {
    for path in ["a", "a/b c/ü.bin", ".hidden", "a..b"] {
        assert_eq!(path.parse::<LockPath>().unwrap().as_str(), path);
    }
    for path in ["", "/a", "a/", "a//b", "./a", "a/../b", "a\nb", "a\0b", &"x".repeat(5_000)] {
        assert_eq!(path.parse::<LockPath>(), Err(LockPathError), "{path}");
    }
}
