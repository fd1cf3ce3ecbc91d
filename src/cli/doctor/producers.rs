//! The `sqlite3` program of the distribution, as scripts and the libraries of other languages have it.

use super::{Finding, tool};

const CHECK: &str = "producers";
/// What the schema's text needs.
const OLDEST: (u32, u32) = (3, 34);

pub(super) fn check() -> Finding {
    judge(tool::ask("sqlite3", &["--version"]).as_deref())
}

/// `said`: such as `3.40.1 2022-12-28 14:03:47 df5c253c...`; none if there is no such program.
fn judge(said: Option<&str>) -> Finding {
    let Some(text) = said.and_then(|said| said.split_whitespace().next()) else {
        return Finding::ok(CHECK, "no sqlite3 program here");
    };
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < OLDEST {
        return Finding::warning(
            CHECK,
            format!("the sqlite3 program has version {text}, older than 3.34"),
            "INSERTs by it, and by what else uses that library, fail: install a newer one",
        );
    }
    Finding::ok(CHECK, format!("the sqlite3 program has version {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn an_old_sqlite3_is_told() {
        assert_eq!(judge(Some("3.33.0 2020-08-14")).level, Level::Warning);
        assert_eq!(judge(Some("2.8.17")).level, Level::Warning);
        for good in [None, Some("3.34.1 2021"), Some("3.40.1"), Some("4.0")] {
            assert_eq!(judge(good).level, Level::Ok, "{good:?}");
        }
    }
}
