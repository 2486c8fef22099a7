use serde_json::json;

use super::to_string;

#[test]
fn texts_that_yaml_would_read_as_something_else_are_quoted() {
    let text =
        to_string(&json!({"a": "yes", "b": "1", "c": "main", "d": "a: b", "e": "# x", "f": "", "g": "*", "h": " x"}));
    assert_eq!(text, "a: \"yes\"\nb: \"1\"\nc: main\nd: \"a: b\"\ne: \"# x\"\nf: \"\"\ng: \"*\"\nh: \" x\"\n");
}

#[test]
fn nesting_is_two_spaces_deep_and_sequences_stand_under_their_key() {
    let text = to_string(&json!({"a": [{"b": 1, "c": [true, []]}, [1, [2]]], "d": {}, "e": {"f": "g"}}));
    assert_eq!(text, "a:\n- b: 1\n  c:\n  - true\n  - []\n- \n  - 1\n  - \n    - 2\nd: {}\ne:\n  f: g\n");
}
