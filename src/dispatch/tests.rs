//! The engine on a table in memory, a scripted wire, and a clock that the test moves.
//!
//! In every test here the wire refuses a firing whose intent is not stored, and a question that is not.

mod rig;

mod board;
mod breaker;
mod cancel;
mod commits;
mod gates;
mod health;
mod limits;
mod modes;
mod pulse;
mod refusals;
mod restart;
mod stop;
mod walk;
