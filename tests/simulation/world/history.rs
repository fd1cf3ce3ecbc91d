//! What happened, and what of it broke a law.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};

/// What must hold, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Law {
    /// No committed request vanishes.
    Kept,
    /// No final state changes but by an operator.
    Final,
    /// What is not repeatable is never fired again after a firing that may have started a job; nothing more often than
    /// it may be.
    Once,
    /// What is said to have happened has happened, and what is said not to have happened has not.
    Truth,
    /// No firing after a stored status URI.
    Followed,
    /// Every firing has its own earlier committed intent.
    Intent,
    /// The state machine is legal, columns fit the state, URIs are stored before they are used.
    Machine,
    /// No secret in the table.
    Secret,
    /// No limit is exceeded.
    Limit,
    /// Once faults are over, every request ends or waits for a known reason.
    Liveness,
    /// With nothing to do, the engine is quiet.
    Quiet,
}

impl Law {
    /// Its short name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kept => "I1 kept",
            Self::Final => "I2 final",
            Self::Once => "I3 once",
            Self::Truth => "I4 truth",
            Self::Followed => "I5 followed",
            Self::Intent => "I6 intent",
            Self::Machine => "I7 machine",
            Self::Secret => "I8 secret",
            Self::Limit => "limit",
            Self::Liveness => "liveness",
            Self::Quiet => "quiet",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All that happened in one world.
#[derive(Default)]
pub(crate) struct History {
    /// Whether each line is written out at once.
    pub(crate) is_loud: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) broken: Vec<(Law, String)>,
    pub(crate) figures: Figures,
}

impl History {
    pub(crate) fn note(&mut self, line: String) {
        if self.is_loud {
            eprintln!("{line}");
        }
        self.lines.push(line);
    }

    /// One number for all of it.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for line in &self.lines {
            hasher.write(line.as_bytes());
            hasher.write_u8(0);
        }
        hasher.finish()
    }
}

/// How often what was reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(pub(crate) BTreeMap<(&'static str, String), u64>);

impl Figures {
    pub(crate) fn count(&mut self, kind: &'static str, what: impl Into<String>) {
        *self.0.entry((kind, what.into())).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (key, n) in &other.0 {
            *self.0.entry(key.clone()).or_default() += n;
        }
    }

    /// How often one thing was reached.
    pub(crate) fn get(&self, kind: &'static str, what: &str) -> u64 {
        self.0.get(&(kind, what.to_owned())).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((kind, what), n) in &self.0 {
            if *kind != last {
                write!(f, "{}{kind:>12}:", if last.is_empty() { "" } else { "\n" })?;
                last = kind;
            }
            write!(f, " {what} {n},")?;
        }
        Ok(())
    }
}
