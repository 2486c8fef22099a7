//! zip as git writes it: of the commit's time in UTC, with the commit's name as the comment.

use std::io::{self, Write};

use flate2::Compression;
use gix::bstr::ByteSlice as _;
use gix::objs::tree::EntryKind;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::format::Member;
use super::resolve::Source;

/// A zip file that is being written.
pub(super) struct Zip<'a> {
    writer: ZipWriter<StreamWriter<&'a mut dyn Write>>,
    options: SimpleFileOptions,
}

impl<'a> Zip<'a> {
    pub(super) fn begin(out: &'a mut dyn Write, source: &Source, level: Compression) -> io::Result<Self> {
        let mut writer = ZipWriter::new_stream(out);
        if let Some(commit) = source.commit {
            writer.set_comment(commit.to_string())?;
        }
        let method = if level == Compression::none() { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .compression_level((method == CompressionMethod::Deflated).then(|| i64::from(level.level())))
            .last_modified_time(time(source.time));
        Ok(Self { writer, options })
    }

    pub(super) fn add(&mut self, member: &Member<'_>) -> io::Result<()> {
        let Member { name, kind, content } = member;
        // The format knows names in UTF-8 only.
        let name = name.to_str_lossy();
        match kind {
            EntryKind::Tree | EntryKind::Commit => {
                self.writer.add_directory(name, self.options.unix_permissions(0o755))?;
            }
            EntryKind::Link => self.writer.add_symlink(name, content.to_str_lossy(), self.options)?,
            EntryKind::Blob | EntryKind::BlobExecutable => {
                let mode = if *kind == EntryKind::Blob { 0o644 } else { 0o755 };
                self.writer.start_file(name, self.options.unix_permissions(mode))?;
                self.writer.write_all(content)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.writer.finish()?;
        Ok(())
    }
}

/// The time as zip has it: from 1980 to 2107, in steps of two seconds.
fn time(seconds: i64) -> DateTime {
    let Ok(at) = jiff::Timestamp::from_second(seconds) else { return DateTime::default() };
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |value: i8| u8::try_from(value).unwrap_or(0);
    let year = u16::try_from(at.year()).unwrap_or(0);
    DateTime::from_date_and_time(
        year,
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    )
    .unwrap_or_default()
}
