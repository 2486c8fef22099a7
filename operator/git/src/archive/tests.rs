use gix::bstr::BString;
use proptest::prelude::*;

use super::request::{Wanted, understand};
use super::*;

fn words(words: &[&str]) -> Vec<BString> {
    words.iter().map(|word| BString::from(*word)).collect()
}

fn wanted(arguments: &[&str]) -> Wanted {
    match understand(words(arguments)).unwrap() {
        Request::Archive(wanted) => wanted,
        Request::List => panic!("{arguments:?} lists"),
    }
}

#[test]
fn arguments_are_read_as_git_reads_them() {
    let plain = wanted(&["HEAD"]);
    assert_eq!((plain.format, plain.level, plain.treeish.to_string()), (Format::Tar, None, "HEAD".to_owned()));
    let all = wanted(&["--format=zip", "-9", "--prefix", "a/", "v1", "-v", "src", "--", "-x"]);
    assert_eq!((all.format, all.level, all.prefix.to_string()), (Format::Zip, Some(9), "a/".to_owned()));
    assert_eq!(all.paths, words(&["src", "-x"]));
    assert_eq!(understand(words(&["--list"])).unwrap(), Request::List);
    for (arguments, told) in [
        (&[][..], "say what to archive"),
        (&["--format=rar", "HEAD"], "rar is not known"),
        (&["--add-file=x", "HEAD"], "--add-file is not supported"),
        (&["--output=x", "HEAD"], "--output is not supported"),
        (&["-12", "HEAD"], "-12 is not supported"),
    ] {
        let error = understand(words(arguments)).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn requests_are_packets_of_arguments() {
    let mut request = &b"0012argument HEAD\n0000"[..];
    assert_eq!(parse(&mut request).unwrap(), Request::Archive(wanted(&["HEAD"])));
    for bad in [&b""[..], b"0012argument HEAD\n", b"0009hello0000", b"0001", b"zzzz"] {
        assert!(parse(&mut &bad[..]).is_err(), "{bad:?}");
    }
    let many = b"000fargument a\n".repeat(100);
    assert!(matches!(parse(&mut &many[..]), Err(RequestError::TooMany)));
}

proptest! {
    #[test]
    fn no_request_brings_it_down(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&mut &bytes[..]);
    }

    #[test]
    fn no_arguments_bring_it_down(arguments in proptest::collection::vec("[-=a-z0-9:/*]{0,12}", 0..8)) {
        let _ = understand(arguments.into_iter().map(BString::from).collect());
    }
}
