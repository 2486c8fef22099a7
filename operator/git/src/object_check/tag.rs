//! Annotated tags. Early ones have no tagger; git accepts that and odd names.

use gix::objs::Kind;
use model::ObjectFormat;

use super::{Mentions, Problem, check_headers, identity, parse_id, take_field};

pub(super) fn check(data: &[u8], format: ObjectFormat, mentions: &mut dyn Mentions) -> Result<(), Problem> {
    check_headers(data)?;
    let mut rest = data;
    let target = take_field(&mut rest, b"object")
        .ok_or(Problem::new("missingObject", "invalid format - expected 'object' line"))?;
    let target =
        parse_id(target, format).ok_or(Problem::new("badObjectSha1", "invalid 'object' line format - bad sha1"))?;
    let kind = take_field(&mut rest, b"type")
        .ok_or(Problem::new("missingTypeEntry", "invalid format - expected 'type' line"))?;
    let kind = match kind {
        b"commit" => Kind::Commit,
        b"tree" => Kind::Tree,
        b"blob" => Kind::Blob,
        b"tag" => Kind::Tag,
        _ => return Err(Problem::new("badType", "invalid 'type' value")),
    };
    mentions.link(&target, kind);
    take_field(&mut rest, b"tag").ok_or(Problem::new("missingTagEntry", "invalid format - expected 'tag' line"))?;
    if let Some(tagger) = take_field(&mut rest, b"tagger") {
        identity::check(tagger)?;
    }
    Ok(())
}
