//! Everything that needs more than one module, in one binary: it is linked once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod config;
