//! Bundles that clients read from the bucket.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A bundle of the default branch in the bucket, from which most of a first clone comes instead of from the git servers.
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
