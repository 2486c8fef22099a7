//! What a `Repository` means, and how one is brought about in a cluster.

pub(crate) mod encryption;
pub(crate) mod reconcile;
pub(crate) mod replication;
mod serving;
mod status;

pub use serving::workload_name;

use std::time::Duration;

use model::desired::{Deletion, Loss, RepositoryConfig};
use model::limits::Limits;
use model::quantity::parse_bytes;
use model::{Namespace, ObjectFormat, RefName, RepositoryPath};

use crate::problem::Finding;

/// The repository that a resource describes, with warnings; or what its schema could not see.
pub(crate) fn config(
    resource: &crds::Repository,
    namespace: &Namespace,
) -> Result<(RepositoryConfig, Vec<Finding>), Vec<Finding>> {
    let (spec, metadata) = (&resource.spec, &resource.metadata);
    let resource_name = metadata.name.clone().unwrap_or_default();
    let name = spec.repository_name.as_deref().unwrap_or(&resource_name);
    let path = name.parse().map(|name| RepositoryPath { namespace: namespace.clone(), name });
    let path = path.map_err(|error| Finding::error("spec.repositoryName", error.to_string()));
    let default_branch = RefName::branch(&spec.default_branch)
        .map_err(|error| Finding::error("spec.defaultBranch", format!("{error}; rename it")));
    let bundle = spec.bundle_uri.as_ref().map(|bundle| size("spec.bundleURI.minSize", &bundle.min_size)).transpose();
    let (path, default_branch, limits, bundle_min_bytes) = match (path, default_branch, limits(&spec.limits), bundle) {
        (Ok(path), Ok(branch), Ok(limits), Ok(bundle)) => (path, branch, limits, bundle),
        (path, branch, limits, bundle) => {
            return Err([path.err(), branch.err(), limits.err(), bundle.err()].into_iter().flatten().collect());
        }
    };
    let (deletion, warning) = deletion(resource, &resource_name);
    let config = RepositoryConfig {
        path,
        labels: metadata.labels.clone().unwrap_or_default(),
        description: spec.description.clone().unwrap_or_default(),
        default_branch,
        object_format: object_format(spec.object_format),
        store: spec.store.clone(),
        dedicated: spec.serving.mode == crds::ServingMode::Dedicated,
        own_bucket: own_bucket(&spec.serving).is_some(),
        limits,
        deletion,
        max_staleness: Duration::from_secs(spec.max_staleness_seconds.into()),
        encryption: encryption::encryption(spec.encryption.as_ref()),
        replication: spec.replication.as_ref().map(replication::replication),
        loss: if confirms(resource, crds::ACCEPT_LOSS) { Loss::Accepted } else { Loss::Refused },
        bundle_min_bytes,
        suspended: spec.suspend,
        resource_name,
    };
    Ok((config, warning.into_iter().collect()))
}

fn object_format(format: crds::ObjectFormat) -> ObjectFormat {
    match format {
        crds::ObjectFormat::Sha1 => ObjectFormat::Sha1,
        crds::ObjectFormat::Sha256 => ObjectFormat::Sha256,
    }
}

/// The bucket of the repository's own, if it has one.
pub(crate) fn own_bucket(serving: &crds::Serving) -> Option<&str> {
    serving.dedicated.as_ref()?.storage.as_ref()?.url.as_deref()
}

fn size(field: &str, text: &str) -> Result<u64, Finding> {
    parse_bytes(text).map_err(|error| Finding::error(field, error.to_string()))
}

fn limits(limits: &crds::Limits) -> Result<Limits, Finding> {
    let size = |field: &str, text: &str| size(&format!("spec.limits.{field}"), text);
    let count = |field: &str, count: i64| {
        u32::try_from(count).map_err(|error| Finding::error(format!("spec.limits.{field}"), error.to_string()))
    };
    Ok(Limits {
        pack_bytes: size("packSize", &limits.pack_size)?,
        objects: count("objects", limits.objects)?.into(),
        inflated_bytes: size("inflatedSize", &limits.inflated_size)?,
        object_bytes: size("objectSize", &limits.object_size)?,
        delta_depth: count("deltaDepth", limits.delta_depth)?,
        refs_per_push: count("references", limits.references)?,
        lfs_object_bytes: size("lfsObjectSize", &limits.lfs_object_size)?,
        lfs_storage_bytes: limits.lfs_storage.as_ref().map_or(Ok(u64::MAX), |text| size("lfsStorage", text))?,
    })
}

/// Whether an annotation holds the resource's own name.
fn confirms(resource: &crds::Repository, annotation: &str) -> bool {
    let annotations = resource.metadata.annotations.as_ref();
    let value = annotations.and_then(|all| all.get(annotation));
    value.is_some() && value == resource.metadata.name.as_ref()
}

/// Data is deleted only when the resource says so twice.
fn deletion(resource: &crds::Repository, name: &str) -> (Deletion, Option<Finding>) {
    match resource.spec.deletion_policy {
        crds::DeletionPolicy::Retain => (Deletion::Retain, None),
        crds::DeletionPolicy::Delete if confirms(resource, crds::CONFIRM_DELETION) => (Deletion::Delete, None),
        crds::DeletionPolicy::Delete => {
            let message = format!(
                "Delete has no effect without the annotation {}: {name}; add it, or choose Retain",
                crds::CONFIRM_DELETION
            );
            (Deletion::Retain, Some(Finding::warning("spec.deletionPolicy", message)))
        }
    }
}
