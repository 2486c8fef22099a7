//! Files whose content git itself obeys: `.gitmodules` and `.gitattributes`, wherever their blobs are.

use std::collections::HashSet;

use gix::{ObjectId, objs::Kind};

use super::{
    Context, IngestError, Quarantine,
    resolve::{Resolved, read_object},
    table::Table,
};
use crate::object_check::{self, Problem};

/// Checks the content of what new trees call `.gitmodules` and `.gitattributes`, also when the blob was there before
/// under an innocent name.
pub(super) fn check(
    table: &Table,
    order: &[u32],
    quarantine: &Quarantine,
    context: &Context<'_>,
    resolved: &Resolved,
) -> Result<(), IngestError> {
    let objects = Objects { table, order, quarantine, context, resolved };
    objects.each(&resolved.gitmodules, object_check::gitmodules, Problem::GITMODULES_MISSING)?;
    objects.each(&resolved.gitattributes, object_check::gitattributes, Problem::GITATTRIBUTES_MISSING)
}

struct Objects<'a> {
    table: &'a Table,
    order: &'a [u32],
    quarantine: &'a Quarantine,
    context: &'a Context<'a>,
    resolved: &'a Resolved,
}

impl Objects<'_> {
    fn each(
        &self,
        ids: &HashSet<ObjectId>,
        rule: fn(Kind, &[u8]) -> Result<(), Problem>,
        missing: Problem,
    ) -> Result<(), IngestError> {
        let mut buffer = Vec::new();
        for id in ids {
            let kind = self.read(id, &mut buffer)?;
            let verdict = kind.map_or(Err(missing), |kind| rule(kind, &buffer));
            verdict.map_err(|problem| IngestError::Object { id: *id, problem })?;
        }
        Ok(())
    }

    fn read(&self, id: &ObjectId, buffer: &mut Vec<u8>) -> Result<Option<Kind>, IngestError> {
        let Some(position) = self.table.position(self.order, id) else {
            return Ok(self.context.existing.read(id, buffer)?);
        };
        let entry = self.order[position];
        *buffer = read_object(self.table, self.quarantine, self.context, self.resolved, entry)?;
        Ok(Some(self.table.kinds[entry as usize]))
    }
}
