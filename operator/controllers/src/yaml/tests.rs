use serde_json::json;

use super::parse;

#[test]
fn documents_have_values_and_lines() {
    let text = "# comment\na: 1\nb:\n  - c: x\n    d: [1, two]\n  - e\n---\n\nf: {g.h: yes}\n";
    let (documents, failure) = parse(text);
    assert!(failure.is_none());
    assert_eq!(documents[0].value, json!({"a": 1, "b": [{"c": "x", "d": [1, "two"]}, "e"]}));
    assert_eq!(documents[1].value, json!({"f": {"g.h": true}}));
    let lines = &documents[0].lines;
    let of = |path: &str| lines.of(path);
    assert_eq!(
        [of("a"), of("b"), of("b[0].c"), of("b[0].d"), of("b[0].d[1]"), of("b[1]"), of("b[0].missing.x")],
        [2, 3, 4, 5, 5, 6, 4]
    );
    assert_eq!([documents[0].lines.of(""), documents[1].lines.of("")], [2, 9]);
    assert_eq!(documents[1].lines.of("f.g.h"), 9);
}

#[test]
fn bare_words_mean_what_kubectl_takes_them_for() {
    let (documents, _) = parse(
        "[yes, no, null, ~, 0x10, 010, -3, 1.5, 1e3, 1.2.3, '1', !!str 1, 18446744073709551615, .5, ., 10.0.0.0/8, 4Gi]",
    );
    let wanted = json!([
        true,
        false,
        null,
        null,
        16,
        8,
        -3,
        1.5,
        1000.0,
        "1.2.3",
        "1",
        "1",
        u64::MAX,
        0.5,
        ".",
        "10.0.0.0/8",
        "4Gi"
    ]);
    assert_eq!(documents[0].value, wanted);
}

#[test]
fn a_field_that_is_there_twice_is_found() {
    let (documents, _) = parse("a: 1\nb: {c: 1, c: 2}\na: 2\n");
    assert_eq!(documents[0].duplicates, ["b.c", "a"]);
}

#[test]
fn what_stands_before_a_fault_is_kept() {
    let (documents, failure) = parse("a: 1\n---\nb: [1\n---\nc: 1\n");
    assert_eq!(documents.len(), 1);
    assert!((3..=5).contains(&failure.unwrap().line));
}

#[test]
fn alias_bombs_and_towers_are_refused() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, before) in ('b'..='i').zip('a'..='h') {
        bomb.extend([format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(","))]);
    }
    assert!(parse(&bomb).1.unwrap().message.contains("aliases followed"));
    assert!(parse(&"[".repeat(100_000)).1.is_some());
    assert!(parse(&"[".repeat(65)).1.unwrap().message.contains("nested deeper"));
    let stairs = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<Vec<_>>().concat();
    assert!(parse(&stairs).1.unwrap().message.contains("nested deeper"));
    assert!(parse("a: &a [*a]\n").1.is_some());
    let (documents, failure) = parse("a: &a {x: 1}\nb: *a\n");
    assert!(failure.is_none());
    assert_eq!(documents[0].value, json!({"a": {"x": 1}, "b": {"x": 1}}));
}

#[test]
fn keys_that_are_no_text_are_refused() {
    assert!(parse("? [a]\n: b\n").1.unwrap().message.contains("plain text"));
    assert!(parse("{{a: b}: c}\n").1.unwrap().message.contains("plain text"));
}
