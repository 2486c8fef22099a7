//! The Kubernetes API types of Codekeep, codekeep.dev/v1alpha1
