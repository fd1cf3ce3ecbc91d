//! What the emulator is told before it starts: its TOML file, every problem of it at once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::config::Value;
use secrecy::SecretString;

use super::knobs::Knobs;
use super::ledger::Entry;
use super::route::is_folder;
use crate::config::credential::reference;
use crate::config::section::{Problems, Section, integer, one_of, size, text, wait};
use crate::config::{self, Error};
use crate::secret::{Credential, Reference};
use crate::trigger::Method;

/// Who watches the calls.
pub type Watcher = dyn Fn(&Entry) + Send + Sync;

/// All that it is told.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it listens a second time: links lead there, at another origin.
    pub portal: Option<SocketAddr>,
    /// The token that calls must bear.
    pub token: Option<SecretString>,
    /// Where that token is, for the hint of how to configure a client.
    pub token_reference: Option<Reference>,
    /// Bytes of a request's body.
    pub max_body: u64,
    /// How long a job is known after its end.
    pub forget_after: Duration,
    /// Jobs that are known at once.
    pub max_jobs: usize,
    /// Calls that the ledger shows: the newest ones.
    pub ledger_calls: usize,
    /// How triggers behave that are not listed; if some are listed, there are no others.
    pub defaults: Arc<Knobs>,
    /// The triggers by name.
    pub triggers: BTreeMap<String, Listed>,
    /// Is told each call that was answered.
    pub each_call: Option<Arc<Watcher>>,
}

/// One `[triggers.NAME]`.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The path behind the folder.
    pub slug: String,
    /// The folder; none: any.
    pub folder: Option<String>,
    /// The verb; none: any.
    pub method: Option<Method>,
    /// How it behaves.
    pub knobs: Arc<Knobs>,
}

/// Where it listens if nobody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8700);

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: LISTEN,
            portal: None,
            token: None,
            token_reference: None,
            max_body: 1 << 20,
            forget_after: Duration::from_secs(10 * 60),
            max_jobs: 100_000,
            ledger_calls: 10_000,
            defaults: Arc::default(),
            triggers: BTreeMap::new(),
            each_call: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("portal", &self.portal)
            .field("token", &self.token)
            .field("triggers", &self.triggers)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads a file, and the token where the file says that it is.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| Error::new(vec![format!("{name}: {error}")]))?;
        Self::parse(&name, &text)
    }

    /// Reads the text of a file called `name`.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let problems = Problems::new(name.to_owned());
        let mut root = Section::new("", config::toml(name, text)?, &problems);
        let base = Self::default();
        let number = |number| usize::try_from(number).ok();
        let mut settings = Self {
            listen: root.take("listen", address).unwrap_or(base.listen),
            portal: root.take("portal", address),
            token_reference: root.take("token", reference),
            max_body: root.take("max_body", size(1)).unwrap_or(base.max_body),
            forget_after: root.take("forget_after", wait).unwrap_or(base.forget_after),
            max_jobs: root.take("max_jobs", integer(1..=1_000_000)).and_then(number).unwrap_or(base.max_jobs),
            ledger_calls: root
                .take("ledger_calls", integer(0..=1_000_000))
                .and_then(number)
                .unwrap_or(base.ledger_calls),
            ..base
        };
        if let Some(token) = settings.token_reference.clone() {
            match (Credential::Bearer { token }).token() {
                Ok(token) => settings.token = Some(token),
                Err(error) => root.problem("token", &error.to_string()),
            }
        }
        let mut defaults = root.table("defaults");
        settings.defaults = Arc::new(Knobs::default().configured(&mut defaults));
        defaults.finish();
        for (name, section) in root.table("triggers").named() {
            let listed = Listed::read(&name, section, &settings.defaults);
            let twin = settings.triggers.iter().find(|(_, other)| other.is_same_call(&listed));
            if let Some((twin, _)) = twin {
                let rule =
                    format!("has the method, folder and slug of triggers.{twin}: no call could reach both");
                problems.add(None, &format!("triggers.{name}"), &rule);
            }
            settings.triggers.insert(name, listed);
        }
        root.finish();
        let problems = problems.into_vec();
        if problems.is_empty() { Ok(settings) } else { Err(Error::new(problems)) }
    }

    /// The name and the knobs of the trigger that a call reaches: of several, the one that says most.
    pub(super) fn find<'s>(
        &'s self,
        method: &str,
        folder: &str,
        slug: &'s str,
    ) -> Option<(&'s str, &'s Arc<Knobs>)> {
        if self.triggers.is_empty() {
            return Some((slug, &self.defaults));
        }
        let reached = self.triggers.iter().filter(|(_, listed)| listed.takes(method, folder, slug));
        let most = reached.max_by_key(|(_, listed)| (listed.folder.is_some(), listed.method.is_some()));
        most.map(|(name, listed)| (name.as_str(), &listed.knobs))
    }
}

impl Listed {
    fn read(name: &str, mut section: Section<'_>, defaults: &Knobs) -> Self {
        let methods = Method::ALL.map(|method| (method.as_str(), method));
        let slug = section.take("slug", slug);
        let folder = section.take("folder", |value| {
            let folder = text(value)?;
            if is_folder(folder) {
                Ok(folder.to_owned())
            } else {
                Err("must be the GUID of a folder".to_owned())
            }
        });
        let method = section.take("method", one_of(&methods));
        let knobs = Arc::new(defaults.configured(&mut section));
        section.finish();
        Self { slug: slug.unwrap_or_else(|| name.to_owned()), folder, method, knobs }
    }

    fn takes(&self, method: &str, folder: &str, slug: &str) -> bool {
        self.slug == slug
            && self.method.is_none_or(|own| own.as_str() == method)
            && self.folder.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(folder))
    }

    fn is_same_call(&self, other: &Self) -> bool {
        let folder = |listed: &Self| listed.folder.as_ref().map(|folder| folder.to_ascii_lowercase());
        (&self.slug, self.method, folder(self)) == (&other.slug, other.method, folder(other))
    }
}

fn address(value: &Value) -> Result<SocketAddr, String> {
    text(value)?.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8700".to_owned())
}

fn slug(value: &Value) -> Result<String, String> {
    let slug = text(value)?;
    if slug.is_empty() || slug.starts_with('/') || slug.ends_with('/') || slug.contains(['?', '#']) {
        return Err("must be what stands behind the folder in the path, such as nightly-report".to_owned());
    }
    Ok(slug.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::CallMode;

    const FOLDER: &str = "6a1c5f6e-0f5b-4d0e-9d7a-3f2b6c1e8a90";

    #[test]
    fn what_a_trigger_leaves_out_is_the_defaults() {
        let settings = Settings::parse(
            "e.toml",
            "[defaults]\nduration = \"5s\"\nhold = \"1s\"\n[triggers.a]\nduration = \"10ms\"\ncall_mode = \"LongPolling\"\n",
        )
        .unwrap();
        let a = &settings.triggers["a"];
        assert_eq!((a.slug.as_str(), a.knobs.duration), ("a", Duration::from_millis(10)));
        assert_eq!(
            (a.knobs.call_mode, a.knobs.manners.hold),
            (CallMode::LongPolling, Duration::from_secs(1))
        );
    }

    #[test]
    fn a_call_reaches_the_trigger_that_says_most() {
        let settings = Settings::parse(
            "e.toml",
            &format!(
                "[triggers.any]\nslug = \"x/y\"\n[triggers.get]\nslug = \"x/y\"\nmethod = \"GET\"\n\
                 [triggers.mine]\nslug = \"x/y\"\nfolder = \"{FOLDER}\"\n[triggers.post]\nmethod = \"POST\"\n"
            ),
        )
        .unwrap();
        let find =
            |method, folder, slug| settings.find(method, folder, slug).map(|(name, _)| name.to_owned());
        let other = FOLDER.replace('6', "7");
        assert_eq!(find("POST", &other, "x/y").as_deref(), Some("any"));
        assert_eq!(find("GET", &other, "x/y").as_deref(), Some("get"));
        let shouted = FOLDER.to_uppercase();
        assert_eq!(find("GET", &shouted, "x/y").as_deref(), Some("mine"));
        assert_eq!(find("POST", &other, "post").as_deref(), Some("post"));
        assert_eq!(find("PUT", &other, "post"), None);
        assert_eq!(find("POST", &other, "x"), None);
        let open = Settings::default();
        assert_eq!(open.find("PUT", &other, "whatever").map(|(name, _)| name), Some("whatever"));
    }

    #[test]
    fn every_problem_is_found_at_once_and_named() {
        let text = "listen = \"here\"\nportal = 1\ntoken = \"s3cret\"\nmax_body = 5\nforget_after = \"x\"\nmax_jobs = 0\n\
                    ledger_calls = -1\nwhat = 1\n[defaults]\nhold = 3\nslug = \"x\"\n\
                    [triggers.Big]\n[triggers.a]\nslug = \"/x\"\nfolder = \"x\"\nmethod = \"HEAD\"\ncall_mode = \"x\"\n\
                    trouble = [{ on = \"start\" }]\n[triggers.b]\n[triggers.c]\nslug = \"b\"\n";
        let error = Settings::parse("e.toml", text).unwrap_err();
        let keys = [
            "listen",
            "portal",
            "token",
            "max_body",
            "forget_after",
            "max_jobs",
            "ledger_calls",
            "what",
            "defaults.hold",
            "defaults.slug",
            "triggers.Big",
            "triggers.a.slug",
            "triggers.a.folder",
            "triggers.a.method",
            "triggers.a.call_mode",
            "triggers.a.trouble[0].status",
            "triggers.c",
        ];
        for key in keys {
            let named = format!("e.toml: {key}: ");
            assert!(error.problems().iter().any(|problem| problem.starts_with(&named)), "{key}: {error}");
        }
        assert_eq!(error.problems().len(), keys.len(), "{error}");
        assert!(!error.to_string().contains("s3cret"));
        assert_eq!(error.exit_code(), 78);
    }

    #[test]
    fn a_token_that_is_not_there_is_a_problem_and_one_that_is_never_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let text = format!("token = {{ file = \"{}\" }}\n", path.display());
        let error = Settings::parse("e.toml", &text).unwrap_err();
        assert!(error.to_string().starts_with("e.toml: token: file /"), "{error}");
        std::fs::write(&path, "c4n4ry\n").unwrap();
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, owner_only).unwrap();
        let settings = Settings::parse("e.toml", &text).unwrap();
        assert!(settings.token.is_some() && !format!("{settings:?}").contains("c4n4ry"));
    }
}
