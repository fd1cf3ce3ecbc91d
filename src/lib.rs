//! `triggerd` fires HTTP triggers for rows of a SQLite table, follows the remote jobs to their end, and writes the
//! outcome back.
//!
//! The path of a row, which is also the order to read the modules in:
//!
//! ```text
//! INSERT -> queue -> dispatch -> invocation -> client -> far end
//!                       ^            |            |
//!                       +-- commit <-+<-- reply --+
//! ```

#![forbid(unsafe_code)]

pub mod request;
pub mod trigger;

pub mod queue;

pub mod dispatch;

pub mod invocation;

pub mod client;

pub mod backoff;
pub mod clock;
pub mod config;
pub mod logging;
pub mod schedule;
pub mod secret;
pub mod service;
pub mod shutdown;

pub mod serving;

pub mod emulator;

pub mod daemon;
