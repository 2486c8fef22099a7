//! Credentials are ordinary Secrets; this is how they are recognised.

/// The type of a Secret that holds `user`, optionally `username`, and one of `password` and `passwordHash`.
pub const GIT_CREDENTIAL: &str = "codekeep.dev/git-credential";

/// The type of a Secret that holds `user` and `publicKey`: lines as in `.pub` files.
pub const SSH_KEY: &str = "codekeep.dev/ssh-key";
