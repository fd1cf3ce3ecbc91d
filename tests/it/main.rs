//! Everything from the outside: the parts through their contracts, and the real binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

mod aftermath;
mod async_polling;
mod backup;
mod breaker;
mod cli;
mod client;
mod config;
mod demo;
mod disk;
mod docs;
mod doctor;
mod emulate;
mod far_faults;
mod fire_and_forget;
mod keys;
mod limits;
mod logs;
mod long_polling;
mod pausing;
mod process;
mod queue_contract;
mod quotas;
mod restart;
mod restore;
mod retention;
mod rooms;
mod schedule_verbs;
mod scheduling;
mod schema;
mod settle;
mod sqlite;
mod systemd;
