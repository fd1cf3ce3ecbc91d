//! The emulator: as any client meets it, as the daemon does, and as a verb.

mod daemon;
mod knobs;
mod ledger;
mod trouble;
mod verb;
