//! Objects and the files that git obeys; the first byte chooses which.

#![no_main]

use git::object_check::{self, Mentions};
use gix::objs::Kind;
use libfuzzer_sys::fuzz_target;

struct Nobody;

impl Mentions for Nobody {
    fn link(&mut self, _: &gix::oid, _: Kind) {}
    fn gitmodules(&mut self, _: &gix::oid) {}
    fn gitattributes(&mut self, _: &gix::oid) {}
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    let _ = match choice % 5 {
        0 => object_check::check(Kind::Commit, data, &mut Nobody),
        1 => object_check::check(Kind::Tree, data, &mut Nobody),
        2 => object_check::check(Kind::Tag, data, &mut Nobody),
        3 => object_check::gitmodules(Kind::Blob, data),
        _ => object_check::gitattributes(Kind::Blob, data),
    };
});
