//! Which part of the emulator a path leads to.

use percent_encoding::percent_decode_str;

use crate::serving::Leg;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// `/`: what this is.
    Front,
    /// `/ledger` and what is below.
    Ledger(Book),
    /// `{prefix}/t/{folder}/{slug...}`.
    Start {
        prefix: &'p str,
        folder: &'p str,
        slug: String,
    },
    /// `{prefix}/t/status/{token}` and `{prefix}/t/output/{token}`.
    Follow {
        prefix: &'p str,
        leg: Leg,
        token: &'p str,
    },
    Nowhere,
}

/// A part of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Book {
    Calls,
    Jobs,
    Firings,
}

impl<'p> Route<'p> {
    /// Reads a path, without its query.
    pub(super) fn of(path: &'p str) -> Self {
        match path {
            "/" => return Self::Front,
            "/ledger" => return Self::Ledger(Book::Calls),
            "/ledger/jobs" => return Self::Ledger(Book::Jobs),
            "/ledger/firings" => return Self::Ledger(Book::Firings),
            _ => {}
        }
        // The vendor's URLs have organisation, tenant and service before it; any of them may be called t, too.
        let t = "/t/";
        let places = path.match_indices('/').filter(|(at, _)| path[*at..].starts_with(t));
        let mut found = places.filter_map(|(at, _)| below(&path[..at], &path[at + t.len()..]));
        found.next().unwrap_or(Self::Nowhere)
    }

    /// The path as it may be shown: a token in it is a key to a job.
    pub(super) fn shown(&self, path: &str) -> String {
        match self {
            Self::Follow { prefix, leg, .. } => format!("{prefix}/t/{}/*", leg.as_str()),
            Self::Nowhere => {
                let ends = ["/status/", "/output/"].map(|leg| path.find(leg).map(|at| at + leg.len()));
                match ends.into_iter().flatten().min() {
                    Some(end) => format!("{}*", &path[..end]),
                    None => path.to_owned(),
                }
            }
            _ => path.to_owned(),
        }
    }
}

/// What `rest`, behind a `/t/`, means.
fn below<'p>(prefix: &'p str, rest: &'p str) -> Option<Route<'p>> {
    let (first, slug) = rest.split_once('/')?;
    let leg = [Leg::Status, Leg::Output].into_iter().find(|leg| leg.as_str() == first);
    match leg {
        Some(leg) if !slug.is_empty() && !slug.contains('/') => {
            Some(Route::Follow { prefix, leg, token: slug })
        }
        None if is_folder(first) && !slug.is_empty() => {
            let slug = percent_decode_str(slug).decode_utf8().ok()?.into_owned();
            Some(Route::Start { prefix, folder: first, slug })
        }
        _ => None,
    }
}

/// Whether this is a GUID, as the key of a folder is.
pub(super) fn is_folder(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90";

    #[test]
    fn whatever_stands_before_it_a_trigger_is_found() {
        for (prefix, slug, decoded) in [
            ("", "hello", "hello"),
            ("/acme/production/orchestrator_", "a/b", "a/b"),
            ("/t/t/orchestrator_", "caf%C3%A9%20x", "café x"),
            ("/t", "t/x", "t/x"),
        ] {
            let path = format!("{prefix}/t/{FOLDER}/{slug}");
            let expected = Route::Start { prefix, folder: FOLDER, slug: decoded.to_owned() };
            assert_eq!(Route::of(&path), expected, "{path}");
            let path = format!("{prefix}/t/status/abc");
            let route = Route::of(&path);
            assert_eq!(route, Route::Follow { prefix, leg: Leg::Status, token: "abc" }, "{path}");
            assert_eq!(route.shown(&path), format!("{prefix}/t/status/*"));
        }
        assert_eq!(Route::of("/t/output/x"), Route::Follow { prefix: "", leg: Leg::Output, token: "x" });
    }

    #[test]
    fn all_else_leads_nowhere_and_shows_no_token() {
        for (path, shown) in [
            ("/t/x/hello", "/t/x/hello"),
            ("/t/status/", "/t/status/*"),
            ("/t/status/abc/def", "/t/status/*"),
            ("/x/output/abc", "/x/output/*"),
            ("/ledger/", "/ledger/"),
            ("/t/6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90/", "/t/6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90/"),
            ("/t/6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90/%ff", "/t/6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90/%ff"),
            ("*", "*"),
            ("", ""),
        ] {
            let route = Route::of(path);
            assert_eq!((&route, route.shown(path).as_str()), (&Route::Nowhere, shown));
        }
    }
}
