//! The first pass: entry by entry as the bytes arrive. Whole objects are hashed and checked at once, deltas kept.

use std::{io::BufRead, sync::atomic::Ordering};

use gix::{ObjectId, objs::Kind};

use super::{
    Context, IngestError, Quarantine,
    entry::{self, Form, Header},
    inflate::Inflate,
    inspect::{self, Inspector},
    source::Source,
    table::{BY_NAME, ByName, Row, Table, WHOLE},
};

/// Blobs above this are hashed in pieces and never held whole.
const STREAM_ABOVE: u64 = 4 << 20;

/// Scratch space above this is given back after the entry that needed it.
const KEEP_SCRATCH: usize = 4 << 20;

/// A pack on disk whose deltas are not resolved yet.
pub(super) struct Scanned {
    pub(super) table: Table,
    pub(super) checksum: ObjectId,
    pub(super) bytes: u64,
}

/// Copies the pack to `quarantine` and fills the table.
pub(super) fn scan(
    input: &mut dyn BufRead,
    quarantine: &mut Quarantine,
    context: &Context<'_>,
    inspector: &mut Inspector,
) -> Result<Scanned, IngestError> {
    let mut source = Source::new(input, quarantine, context);
    let count = header(&mut source, context)?;
    let mut scan =
        Scan { table: Table::new(), inflate: Inflate::default(), scratch: Vec::new(), inflated_bytes: 0, context };
    for _ in 0..count {
        if context.interrupt.load(Ordering::Relaxed) {
            return Err(IngestError::Interrupted);
        }
        scan.entry(&mut source, inspector)?;
    }
    let mut table = scan.table;
    table.end = source.offset();
    let (checksum, bytes) = source.finish()?;
    Ok(Scanned { table, checksum, bytes })
}

fn header(source: &mut Source<'_>, context: &Context<'_>) -> Result<u32, IngestError> {
    let malformed = |what| IngestError::Malformed { offset: 0, what };
    let bytes = source.require(12, "within its header")?;
    let (signature, rest) = bytes.split_at(4);
    let (version, count) = rest.split_at(4);
    if signature != b"PACK" {
        return Err(malformed("it does not begin with PACK"));
    }
    if version != [0, 0, 0, 2] {
        return Err(malformed("only version 2 is taken"));
    }
    let count = count.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let limit = context.limits.objects.min(u64::from(BY_NAME - 1));
    if u64::from(count) > limit {
        return Err(IngestError::Limit { what: "objects of the pack", limit });
    }
    source.consume(12)?;
    Ok(count)
}

struct Scan<'a> {
    table: Table,
    inflate: Inflate,
    scratch: Vec<u8>,
    inflated_bytes: u64,
    context: &'a Context<'a>,
}

impl Scan<'_> {
    fn entry(&mut self, source: &mut Source<'_>, inspector: &mut Inspector) -> Result<(), IngestError> {
        source.take_crc32();
        let offset = source.offset();
        let header = entry_header(source)?;
        self.charge(header.size)?;
        let (kind, parent) = match header.form {
            Form::Whole(kind) => (kind, WHOLE),
            Form::OfsDelta { distance } => (Kind::Blob, self.base_at(offset, distance)?),
            Form::RefDelta { base } => {
                let entry = u32::try_from(self.table.len()).unwrap_or(WHOLE);
                self.table.by_name.push(ByName { base, entry });
                (Kind::Blob, BY_NAME)
            }
        };
        let streamed = parent == WHOLE && kind == Kind::Blob && header.size > STREAM_ABOVE;
        let mut id = ObjectId::null(self.context.format);
        let mut data: &[u8] = &[];
        if streamed {
            id = inspect::hash_pieces(self.context.format, header.size, |sink| {
                self.inflate.streamed(source, header.size, sink)
            })?;
        } else {
            data = self.inflate.whole(source, header.size, &mut self.scratch)?;
            if parent == WHOLE {
                id = inspector.object(kind, data)?;
            }
        }
        let crc32 = source.take_crc32();
        let header_len = u8::try_from(header.len).unwrap_or(u8::MAX);
        self.table.push(&Row { offset, header_len, size: header.size, parent, kind, id, crc32 }, data);
        if self.scratch.len() > KEEP_SCRATCH {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    fn charge(&mut self, size: u64) -> Result<(), IngestError> {
        let limits = self.context.limits;
        if size > limits.object_bytes {
            return Err(IngestError::Limit { what: "bytes of an object", limit: limits.object_bytes });
        }
        self.inflated_bytes = self.inflated_bytes.saturating_add(size);
        if self.inflated_bytes > limits.inflated_bytes {
            return Err(IngestError::Limit { what: "inflated bytes of the pack", limit: limits.inflated_bytes });
        }
        Ok(())
    }

    fn base_at(&self, offset: u64, distance: u64) -> Result<u32, IngestError> {
        let base = offset.checked_sub(distance).filter(|base| *base < offset);
        let found = base.and_then(|base| self.table.offsets.binary_search(&base).ok());
        found
            .and_then(|entry| u32::try_from(entry).ok())
            .ok_or(IngestError::Malformed { offset, what: "the base of a delta is not where an object begins" })
    }
}

fn entry_header(source: &mut Source<'_>) -> Result<Header, IngestError> {
    let offset = source.offset();
    loop {
        match entry::parse(source.available(), source.format()) {
            Ok(Some(header)) => {
                source.consume(header.len)?;
                return Ok(header);
            }
            Ok(None) => source.refill("within the header of an object")?,
            Err(what) => return Err(IngestError::Malformed { offset, what }),
        }
    }
}
