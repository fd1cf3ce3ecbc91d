//! Secrets: values that never print, and where they are read from.

use std::path::PathBuf;

/// Where a secret is read from; the configuration never holds the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `{ env = "NAME" }`: an environment variable.
    Env(String),
    /// `{ file = "/PATH" }`: a file.
    File(PathBuf),
    /// `{ credential = "NAME" }`: a file of systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// One `[credentials.NAME]` of the configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `kind = "bearer"`: a fixed token.
    Bearer {
        /// Where the token is.
        token: Reference,
    },
}
