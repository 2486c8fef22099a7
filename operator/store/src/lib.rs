//! A repository as a numbered log in an object store
