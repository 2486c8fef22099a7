//! How policies and rules choose repositories.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Chooses repositories of the resource's own namespace. With both `names` and `selector`, a repository must satisfy both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) || has(self.selector)")
    .message("repositories needs names, selector or both; names: [\"*\"] chooses every repository of the namespace"))]
pub struct RepositorySelector {
    /// Repository names (`spec.repositoryName`); `*` stands for any run of characters, also `/`, and `?` for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 100),
        inner(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z0-9._/*?-]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Option<Vec<String>>,
    /// Chooses repositories by the labels of their Repository resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Chooses resources by their labels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that the resource must all carry, with these values.
    #[schemars(length(min = 1, max = 32), extend("additionalProperties" = {"type": "string", "maxLength": 63}, "minProperties" = 1, "maxProperties" = 32))]
    #[x_kube(merge_strategy = MapMerge::Granular)]
    pub match_labels: BTreeMap<String, String>,
}
