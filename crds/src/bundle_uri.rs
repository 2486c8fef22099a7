//! Bundles that clients read from the bucket.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Offers clients that ask for it (`git clone` with `transfer.bundleURI` set to `true`) the history of the default branch as a bundle in the bucket,
/// so that most of a first clone does not pass through the git servers. Whoever was given its address may read it for 15 minutes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BundleUri {
    /// From which size of its packs on a repository has a bundle: a whole number with an optional suffix, such as `500M`.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^([1-9][0-9]{0,14}|[1-9][0-9]{0,5}([kMGT]|[KMGT]i))$"))]
    #[serde(default = "default_min_size")]
    pub min_size: String,
}

fn default_min_size() -> String {
    "64Mi".to_owned()
}
