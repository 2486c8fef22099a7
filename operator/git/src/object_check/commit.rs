//! Commits.

use gix::objs::Kind;
use model::ObjectFormat;

use super::{Mentions, Problem, check_headers, identity, parse_id, take_field};

pub(super) fn check(data: &[u8], format: ObjectFormat, mentions: &mut dyn Mentions) -> Result<(), Problem> {
    check_headers(data)?;
    let mut rest = data;
    let tree =
        take_field(&mut rest, b"tree").ok_or(Problem::new("missingTree", "invalid format - expected 'tree' line"))?;
    let tree = parse_id(tree, format).ok_or(Problem::new("badTreeSha1", "invalid 'tree' line format - bad sha1"))?;
    mentions.link(&tree, Kind::Tree);
    while let Some(parent) = take_field(&mut rest, b"parent") {
        let parent =
            parse_id(parent, format).ok_or(Problem::new("badParentSha1", "invalid 'parent' line format - bad sha1"))?;
        mentions.link(&parent, Kind::Commit);
    }
    let mut authors = 0;
    while let Some(author) = take_field(&mut rest, b"author") {
        identity::check(author)?;
        authors += 1;
    }
    match authors {
        0 => return Err(Problem::new("missingAuthor", "invalid format - expected 'author' line")),
        1 => {}
        _ => return Err(Problem::new("multipleAuthors", "invalid format - multiple 'author' lines")),
    }
    let committer = take_field(&mut rest, b"committer")
        .ok_or(Problem::new("missingCommitter", "invalid format - expected 'committer' line"))?;
    identity::check(committer)?;
    if data.contains(&0) {
        return Err(Problem::new("nulInCommit", "NUL byte in the commit object body"));
    }
    Ok(())
}
