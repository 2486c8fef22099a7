use proptest::prelude::*;

use super::*;

/// `NAMESPACE/NAME` of a command that is run.
fn target(command: &str) -> Option<String> {
    let Named { namespace, name } = parse(command.as_bytes()).unwrap().named?;
    Some(format!("{}/{}", namespace.map_or_else(String::new, |namespace| namespace.to_string()), name?))
}

#[test]
fn clients_write_the_same_in_many_ways() {
    for command in [
        "git-upload-pack '/team-a/hello'",
        "git-upload-pack '/team-a/hello.git'",
        "git-upload-pack 'team-a/hello'",
        "git-upload-pack '/team-a/hello/'",
        "git-upload-pack /team-a/hello",
        "git-upload-pack \"/team-a/hello\"",
        "git upload-pack '/team-a/hello'",
        "git-upload-pack  '/team-a'/hello ",
    ] {
        assert_eq!(target(command).as_deref(), Some("team-a/hello"), "{command}");
        assert_eq!(parse(command.as_bytes()).unwrap().verb, Verb::UploadPack);
    }
    assert_eq!(target("git-receive-pack '/v1/repos/group/hello'").as_deref(), Some("/group/hello"));
    assert_eq!(parse(b"git-receive-pack 'a/b'").unwrap().verb, Verb::ReceivePack);
    assert_eq!(parse(b"git-upload-archive 'a/b'").unwrap().verb, Verb::UploadArchive);
    assert_eq!(
        parse(b"git-lfs-authenticate a/b.git download").unwrap().verb,
        Verb::LfsAuthenticate(Operation::Download)
    );
    assert_eq!(
        parse(b"git-lfs-authenticate '/a/b' upload 0123").unwrap().verb,
        Verb::LfsAuthenticate(Operation::Upload)
    );
}

#[test]
fn what_a_shell_would_act_on_is_no_command() {
    for command in [
        "",
        " ",
        "git-upload-pack '/team-a/hello",
        "git-upload-pack '/team-a/hello'; id",
        "git-upload-pack '/team-a/hello' && id",
        "git-upload-pack '/team-a/hello' | sh",
        "git-upload-pack $(id)",
        "git-upload-pack `id`",
        "git-upload-pack \"$(id)\"",
        "git-upload-pack \"/team-a/`id`\"",
        "git-upload-pack '/team-a/hello' > x",
        "git-upload-pack '/team-a/hello'\nid",
        "git-upload-pack '/team-a/hello'\0",
        "git-upload-pack team\\-a/hello",
        "git-upload-pack *",
        "GIT_TRACE=1;git-upload-pack '/team-a/hello'",
    ] {
        assert_eq!(parse(command.as_bytes()), Err(ExecError::Form), "{command:?}");
    }
    assert_eq!(parse(b"git-upload-pack '/team-a/\xff'"), Err(ExecError::Form));
    assert_eq!(parse(&[b'a'; 5_000]), Err(ExecError::Form));
}

#[test]
fn other_verbs_are_refused() {
    for command in [
        "id",
        "git",
        "git-",
        "git shell",
        "git-shell -c id",
        "git-upload-pack2 'a/b'",
        "/usr/bin/git-upload-pack 'a/b'",
        "env git-upload-pack 'a/b'",
        "git-lfs-transfer 'a/b' upload",
        "upload-pack 'a/b'",
        "GIT-UPLOAD-PACK 'a/b'",
        "scp -t /tmp",
        "'git-upload-pack a/b'",
        "git-git-upload-pack 'a/b'",
    ] {
        assert_eq!(parse(command.as_bytes()), Err(ExecError::Verb), "{command:?}");
    }
}

#[test]
fn options_and_further_words_are_refused() {
    for command in [
        "git-upload-pack",
        "git-upload-pack --help",
        "git-upload-pack '--strict' 'a/b'",
        "git-upload-pack '-u'",
        "git-receive-pack 'a/b' 'c/d'",
        "git-receive-pack 'a/b' --exec",
        "git-lfs-authenticate 'a/b'",
        "git-lfs-authenticate 'a/b' delete",
        "git-lfs-authenticate 'a/b' upload x y",
    ] {
        assert_eq!(parse(command.as_bytes()), Err(ExecError::Path), "{command:?}");
    }
}

#[test]
fn tricks_name_no_repository() {
    for path in [
        "/team-a/../team-b/x",
        "../etc/passwd",
        "~/hello",
        "~alice/hello",
        "//team-a/hello",
        "/team-a//x",
        "/Team-A/x",
        "/team-a/x%2fy",
        "/team-a/.git",
        "/team-a/",
        "/",
        "",
        "/team-a",
        "/team-a/-x",
        "/v1/repos/../x",
        "/team-a/x.lock",
    ] {
        assert_eq!(target(&format!("git-upload-pack '{path}'")), None, "{path}");
    }
}

/// As git quotes: in `'`, with `'` and `!` outside of them.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('!', "'\\!'"))
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(command in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&command);
    }

    #[test]
    fn what_git_quotes_comes_out_as_it_went_in(text in "[^\\p{C}]{0,60}") {
        prop_assert_eq!(words(&format!("x {}", quoted(&text))), Some(vec!["x".to_owned(), text]));
    }

    #[test]
    fn whatever_follows_the_verb_names_a_repository_or_nothing(rest in "[ -~]{0,60}") {
        let Ok(exec) = parse(format!("git-receive-pack {rest}").as_bytes()) else { return Ok(()) };
        if let Some(Named { name: Some(name), .. }) = exec.named {
            prop_assert!(!name.as_str().starts_with('-') && !name.as_str().contains(".."));
        }
    }
}
