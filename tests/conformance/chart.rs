//! The chart and `config/`: what Helm and kustomize make of them is what Kubernetes takes, and no right more than written down.
//!
//! Offline: objects are read with the types of `k8s-openapi`, and what a type does not know counts as a mistake. It is *not*
//! a test of what the objects do; that is for the suites on a cluster. `UPDATE_GOLDEN=1` writes the golden file and the table
//! in the chart's README anew.

mod config;
mod definitions;
mod every_value;
mod kubernetes;
mod objects;
mod pods;
mod render;
mod rights;
mod words;
