//! Turns resources, from a folder or a cluster, into what the servers enforce
