//! Objects and the files that git obeys; the first byte chooses which.
#![cfg_attr(feature = "libfuzzer", no_main)]

use git::object_check::{self, Mentions};
use gix::objs::Kind;
use model::ObjectFormat;

struct Nobody;

impl Mentions for Nobody {
    fn link(&mut self, _: &gix::oid, _: Kind) {}
    fn gitmodules(&mut self, _: &gix::oid) {}
    fn gitattributes(&mut self, _: &gix::oid) {}
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((choice, data)) = bytes.split_first() else { return };
    // The lowest bits choose the rule.
    let format = if choice & 0x80 == 0 { ObjectFormat::Sha1 } else { ObjectFormat::Sha256 };
    let _ = match (choice & 0x7f) % 5 {
        0 => object_check::check(Kind::Commit, data, format, &mut Nobody),
        1 => object_check::check(Kind::Tree, data, format, &mut Nobody),
        2 => object_check::check(Kind::Tag, data, format, &mut Nobody),
        3 => object_check::gitmodules(Kind::Blob, data),
        _ => object_check::gitattributes(Kind::Blob, data),
    };
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
