//! Trees: form, names, order.

use gix::objs::Kind;
use model::ObjectFormat;

use super::{
    Mentions, Problem,
    dot_git::{is_dot_git, is_dot_gitattributes, is_dot_gitmodules},
};

/// Longest name of an entry, as git has it by default (`fsck.largePathname`).
const NAME_BYTES: usize = 4_096;

const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const GITLINK: u32 = 0o160_000;
const FORMAT: u32 = 0o170_000;

const END: u8 = 1;
const SLASH: u8 = 2;
const ODD: u8 = 4;

/// Bytes that names are looked at for, in one pass.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    classes[0] = END;
    classes[b'/' as usize] = SLASH;
    classes[b'\\' as usize] = ODD;
    classes[b'~' as usize] = ODD;
    classes
};

struct Entry<'a> {
    mode: u32,
    name: &'a [u8],
    /// What kinds of bytes the name has, see [`CLASSES`].
    classes: u8,
    id: &'a gix::oid,
}

pub(super) fn check(data: &[u8], format: ObjectFormat, mentions: &mut dyn Mentions) -> Result<(), Problem> {
    let mut rest = data;
    let mut order = Order::default();
    while !rest.is_empty() {
        let entry = take_entry(&mut rest, format.len_in_bytes())?;
        check_name(&entry, mentions)?;
        if entry.id.is_null() {
            return Err(Problem::new("nullSha1", "contains entries pointing to null sha1"));
        }
        order.check(&entry)?;
        match entry.mode & FORMAT {
            DIRECTORY => mentions.link(entry.id, Kind::Tree),
            GITLINK => {}
            _ => mentions.link(entry.id, Kind::Blob),
        }
    }
    Ok(())
}

fn take_entry<'a>(rest: &mut &'a [u8], id_bytes: usize) -> Result<Entry<'a>, Problem> {
    let bad = Problem::new("badTree", "cannot be parsed as a tree");
    let mut mode = 0_u32;
    let mut at = 0;
    loop {
        match *rest.get(at).ok_or(bad)? {
            b' ' if at > 0 => break,
            digit @ b'0'..=b'7' => mode = mode << 3 | u32::from(digit - b'0'),
            _ => return Err(bad),
        }
        // git keeps 16 bits and forgets the others; a mode that has more of them means nothing to anybody.
        if mode > 0o177_777 {
            return Err(bad);
        }
        at += 1;
    }
    let after = &rest[at + 1..];
    let mut classes = 0;
    let end = after.iter().position(|byte| {
        classes |= CLASSES[usize::from(*byte)];
        *byte == 0
    });
    let end = end.filter(|end| *end > 0).ok_or(bad)?;
    let id = after.get(end + 1..end + 1 + id_bytes).ok_or(bad)?;
    *rest = &after[end + 1 + id_bytes..];
    Ok(Entry { mode, name: &after[..end], classes, id: gix::oid::try_from_bytes(id).map_err(|_| bad)? })
}

fn check_name(entry: &Entry<'_>, mentions: &mut dyn Mentions) -> Result<(), Problem> {
    let name = entry.name;
    if entry.classes & SLASH != 0 {
        return Err(Problem::new("fullPathname", "contains full pathnames"));
    }
    if name.len() > NAME_BYTES {
        return Err(Problem::new("largePathname", "contains excessively large pathname"));
    }
    // Every spelling of `.git` and its kin begins with a dot, perhaps after code points that HFS+ ignores, or is a
    // short name of NTFS, or follows a backslash. Nearly all names are done here.
    let suspect = entry.classes & ODD != 0 || matches!(name.first(), Some(b'.' | 0xe2 | 0xef));
    if !suspect {
        return Ok(());
    }
    match name {
        b"." => return Err(Problem::new("hasDot", "contains '.'")),
        b".." => return Err(Problem::new("hasDotdot", "contains '..'")),
        _ => {}
    }
    if is_dot_git(name) {
        return Err(Problem::new("hasDotgit", "contains '.git'"));
    }
    let symlink = entry.mode & FORMAT == SYMLINK;
    if is_dot_gitmodules(name) {
        if symlink {
            return Err(Problem::new("gitmodulesSymlink", ".gitmodules is a symbolic link"));
        }
        mentions.gitmodules(entry.id);
    }
    // A symbolic link called .gitattributes is only worth a note to git, and is not read.
    if is_dot_gitattributes(name) && !symlink {
        mentions.gitattributes(entry.id);
    }
    Ok(())
}

/// Sorted as if directories ended in a slash, and no name twice, not even once as a file and once as a directory.
#[derive(Default)]
struct Order<'a> {
    last: Option<(u32, &'a [u8])>,
    /// Names of files that a directory of the same name may still follow.
    candidates: Vec<&'a [u8]>,
}

impl<'a> Order<'a> {
    fn check(&mut self, entry: &Entry<'a>) -> Result<(), Problem> {
        let this = (entry.mode, entry.name);
        let Some(last) = self.last.replace(this) else { return Ok(()) };
        let unsorted = Problem::new("treeNotSorted", "not properly sorted");
        let twice = Problem::new("duplicateEntries", "contains duplicate file entries");
        if last.1[0] < this.1[0] {
            return Ok(());
        }
        let common = last.1.len().min(this.1.len());
        match last.1[..common].cmp(&this.1[..common]) {
            std::cmp::Ordering::Less => return Ok(()),
            std::cmp::Ordering::Greater => return Err(unsorted),
            std::cmp::Ordering::Equal => {}
        }
        if last.1.len() == this.1.len() {
            return Err(twice);
        }
        let (before, after) = (next_byte(last, common), next_byte(this, common));
        if before == 0 && is_below_slash(after) {
            self.candidates.push(last.1);
        } else if after == b'/' && is_below_slash(before) {
            while let Some(candidate) = self.candidates.pop() {
                match this.1.strip_prefix(candidate) {
                    Some([]) => return Err(twice),
                    Some([next, ..]) if is_below_slash(*next) => {
                        self.candidates.push(candidate);
                        break;
                    }
                    _ => {}
                }
            }
        }
        if before < after { Ok(()) } else { Err(unsorted) }
    }
}

fn next_byte((mode, name): (u32, &[u8]), at: usize) -> u8 {
    let end = if mode & FORMAT == DIRECTORY { b'/' } else { 0 };
    name.get(at).copied().unwrap_or(end)
}

fn is_below_slash(byte: u8) -> bool {
    byte > 0 && byte < b'/'
}
