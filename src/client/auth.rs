//! Credentials: the tokens, and the gates that exchanges pass.
//!
//! An exchange passes two gates: its credential's, and its trigger's own. The second keeps a trigger that is answered
//! 401 alone, while others with the same credential are welcome, from being fired again without end; and it is the
//! only one of a trigger without a credential. Secrets are read inline: one small local file, rarely.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::Admission;
use super::gate::Gate;
use crate::clock::UnixMillis;
use crate::invocation::{Break, Code, Reply};
use crate::secret::Credential;
use crate::trigger::Trigger;

/// All credentials of one configuration, and the gates of all triggers fired under it.
pub(super) struct Keyring {
    credentials: HashMap<String, Arc<Door>>,
    triggers: Mutex<HashMap<String, Arc<Door>>>,
}

/// A gate, with the token of the credential that it belongs to.
struct Door {
    name: String,
    credential: Option<Credential>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    gate: Gate,
    token: Option<HeaderValue>,
    /// Why there is no token.
    why: String,
}

/// The leave to make one exchange; takes note of its end.
pub(super) struct Pass {
    doors: Vec<(Arc<Door>, u32)>,
    token: Option<HeaderValue>,
    /// The trigger's own gate was shut already when it began.
    refused_before: bool,
}

impl Keyring {
    /// Reads all secrets. One that cannot be read shuts its gate and is tried again.
    pub(super) fn new(credentials: HashMap<String, Credential>, now: UnixMillis) -> Self {
        let open = |(name, credential): (String, Credential)| {
            let door = Door::new(name.clone(), Some(credential));
            door.renew(&mut door.lock(), now);
            (name, Arc::new(door))
        };
        Self { credentials: credentials.into_iter().map(open).collect(), triggers: Mutex::default() }
    }

    /// See [`super::Client::admission`].
    pub(super) fn admission(&self, trigger: &Trigger, now: UnixMillis) -> Admission {
        let own = self.triggers().get(&trigger.name).cloned();
        let shared = match trigger.credential.as_ref().map(|name| self.credentials.get(name)) {
            None => None,
            Some(Some(door)) => Some(door),
            Some(None) => {
                return Admission::Shut { until: UnixMillis(i64::MAX), code: Code::CredentialUnavailable };
            }
        };
        let mut own = own.as_ref().map(|door| door.lock());
        let mut shared = shared.map(|door| (door, door.lock()));
        let own_says = own.as_ref().map_or(Admission::Open, |held| held.gate.look(now));
        if let Admission::Shut { .. } = own_says {
            return own_says;
        }
        let shared_says = shared.as_mut().map_or(Admission::Open, |(door, held)| {
            if held.gate.look(now) == Admission::Probe {
                door.renew(held, now);
            }
            held.gate.look(now)
        });
        if let Admission::Shut { .. } = shared_says {
            return shared_says;
        }
        if let Some(held) = own.as_mut().filter(|_| own_says == Admission::Probe) {
            held.gate.take_probe(now);
        }
        if let Some((_, held)) = shared.as_mut().filter(|_| shared_says == Admission::Probe) {
            held.gate.take_probe(now);
        }
        if own_says == Admission::Open { shared_says } else { Admission::Probe }
    }

    /// See [`super::Client::outlook`].
    pub(super) fn outlook(&self, trigger: &Trigger, now: UnixMillis) -> Admission {
        let own =
            self.triggers().get(&trigger.name).map_or(Admission::Open, |door| door.lock().gate.look(now));
        let shared = trigger.credential.as_ref().map_or(Admission::Open, |name| {
            self.credentials.get(name).map_or(
                Admission::Shut { until: UnixMillis(i64::MAX), code: Code::CredentialUnavailable },
                |door| door.lock().gate.look(now),
            )
        });
        match (own, shared) {
            (Admission::Shut { .. }, _) => own,
            (Admission::Probe, Admission::Open) => Admission::Probe,
            _ => shared,
        }
    }

    /// Begins an exchange with the trigger's credential.
    pub(super) fn enter(&self, trigger: &Trigger) -> Result<Pass, Break> {
        let mut pass = Pass::without_credential();
        if let Some(name) = &trigger.credential {
            let unavailable = |why: &str| Break::NotSent {
                code: Code::CredentialUnavailable,
                why: format!("credential {name} is not available: {why}"),
            };
            let door = self.credentials.get(name).ok_or_else(|| unavailable("it is not configured"))?;
            let mut held = door.lock();
            let token = held.token.clone().ok_or_else(|| unavailable(&held.why))?;
            pass.doors.push((Arc::clone(door), held.gate.begin()));
            pass.token = Some(token);
        }
        let known = self.triggers().get(&trigger.name).cloned();
        let own = known.unwrap_or_else(|| self.add(&trigger.name));
        let mut held = own.lock();
        pass.refused_before = !held.gate.is_open();
        let epoch = held.gate.begin();
        drop(held);
        pass.doors.push((own, epoch));
        Ok(pass)
    }

    fn add(&self, trigger: &str) -> Arc<Door> {
        let door = Arc::new(Door::new(trigger.to_owned(), None));
        Arc::clone(self.triggers().entry(trigger.to_owned()).or_insert(door))
    }

    fn triggers(&self) -> MutexGuard<'_, HashMap<String, Arc<Door>>> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn new(name: String, credential: Option<Credential>) -> Self {
        Self { name, credential, held: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_shut_credential(&self) -> bool {
        self.credential.is_some() && !self.lock().gate.is_open()
    }

    /// Reads the secret (again).
    fn renew(&self, held: &mut Held, now: UnixMillis) {
        let Some(credential) = &self.credential else { return };
        match credential.token() {
            Ok(token) => {
                let text = format!("Bearer {}", token.expose_secret());
                let mut value = HeaderValue::try_from(text).expect("a token is visible ASCII");
                value.set_sensitive(true);
                held.token = Some(value);
                if held.gate.is_unavailable() {
                    tracing::info!(credential.name = %self.name, "credential {} can be read again", self.name);
                }
                held.gate.available();
            }
            Err(error) => {
                held.token = None;
                held.why = error.to_string();
                if !held.gate.is_unavailable() {
                    tracing::warn!(credential.name = %self.name, %error, "credential {} cannot be read", self.name);
                }
                held.gate.unavailable(now);
            }
        }
    }

    fn refused(&self, epoch: u32, now: UnixMillis) {
        let mut held = self.lock();
        let was_open = held.gate.is_open();
        if held.gate.refused(epoch, now) {
            self.renew(&mut held, now);
        } else if was_open && !held.gate.is_open() {
            let kind = if self.credential.is_some() { "credential" } else { "trigger" };
            tracing::warn!(gate.kind = kind, gate.name = %self.name, "{kind} {} was answered 401 twice: only probes from now on", self.name);
        }
    }
}

impl Pass {
    /// For an exchange that carries no credential: no gate learns from it.
    pub(super) const fn without_credential() -> Self {
        Self { doors: Vec::new(), token: None, refused_before: false }
    }

    /// The value of `Authorization`.
    pub(super) const fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// Tells the gates how the exchange ended.
    pub(super) fn report(mut self, end: &Result<Reply, Break>, now: UnixMillis) {
        for (door, epoch) in std::mem::take(&mut self.doors) {
            match end {
                // A trigger that is refused anyway says nothing about the credential: its own gate keeps it off longer and
                // longer, and a neighbour gets the next probe.
                Ok(reply) if reply.status == 401 && self.refused_before && door.is_shut_credential() => {
                    door.lock().gate.broke(epoch, now);
                }
                Ok(reply) if reply.status == 401 => door.refused(epoch, now),
                Ok(_) => door.lock().gate.welcomed(epoch),
                Err(_) => door.lock().gate.broke(epoch, now),
            }
        }
    }
}

/// An exchange that is dropped says nothing, but must not keep the probe taken.
impl Drop for Pass {
    fn drop(&mut self) {
        for (door, epoch) in &self.doors {
            door.lock().gate.dropped(*epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;

    use url::Url;

    use super::*;
    use crate::invocation::Body;
    use crate::secret::Reference;

    fn trigger(name: &str, credential: Option<&str>) -> Trigger {
        let mut trigger = Trigger::new(name, Url::parse("http://far.example/").unwrap());
        trigger.credential = credential.map(str::to_owned);
        trigger
    }

    fn write(path: &Path, token: &str) {
        fs::write(path, token).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn keyring(path: &Path) -> Keyring {
        let token = Reference::File(path.to_owned());
        Keyring::new(HashMap::from([("c".to_owned(), Credential::Bearer { token })]), UnixMillis(0))
    }

    fn answered(status: u16) -> Result<Reply, Break> {
        Ok(Reply {
            status,
            url: Url::parse("http://far.example/").unwrap(),
            location: None,
            retry_after: None,
            content_type: None,
            body: Body::default(),
        })
    }

    fn exchange(keys: &Keyring, trigger: &Trigger, status: u16, now: i64) -> String {
        let pass = keys.enter(trigger).unwrap();
        let token = pass.token().map(|token| token.to_str().unwrap().to_owned());
        pass.report(&answered(status), UnixMillis(now));
        token.unwrap_or_default()
    }

    fn is_shut(admission: Admission) -> bool {
        matches!(admission, Admission::Shut { .. })
    }

    #[test]
    fn a_dead_credential_shuts_all_its_triggers_and_one_probe_opens_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "old");
        let keys = keyring(&path);
        let (one, two, other) =
            (trigger("one", Some("c")), trigger("two", Some("c")), trigger("other", None));
        assert_eq!(exchange(&keys, &one, 401, 0), "Bearer old");
        assert_eq!(keys.admission(&two, UnixMillis(0)), Admission::Open);
        exchange(&keys, &one, 401, 0);
        assert!(is_shut(keys.admission(&one, UnixMillis(0))));
        assert!(is_shut(keys.admission(&two, UnixMillis(0))));
        assert_eq!(keys.admission(&other, UnixMillis(0)), Admission::Open);

        write(&path, "new");
        assert_eq!(keys.admission(&two, UnixMillis(1000)), Admission::Probe);
        assert!(is_shut(keys.admission(&one, UnixMillis(1000))));
        assert_eq!(exchange(&keys, &two, 202, 1000), "Bearer new", "read again for the probe");
        assert_eq!(keys.admission(&two, UnixMillis(1000)), Admission::Open);
    }

    #[test]
    fn a_rotated_secret_is_read_at_the_first_401() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "old");
        let keys = keyring(&path);
        let one = trigger("one", Some("c"));
        write(&path, "new");
        assert_eq!(exchange(&keys, &one, 401, 0), "Bearer old");
        assert_eq!(exchange(&keys, &one, 202, 0), "Bearer new");
        assert_eq!(keys.admission(&one, UnixMillis(0)), Admission::Open);
    }

    #[test]
    fn a_trigger_that_alone_is_refused_cannot_spin_and_shuts_nobody_else_out_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "t");
        let keys = keyring(&path);
        let (bad, good) = (trigger("bad", Some("c")), trigger("good", Some("c")));
        let mut fired = 0;
        for now in 0..60_000 {
            if !is_shut(keys.admission(&bad, UnixMillis(now))) {
                exchange(&keys, &bad, 401, now);
                fired += 1;
            }
            assert!(!is_shut(keys.admission(&good, UnixMillis(now))), "{now}");
            exchange(&keys, &good, 202, now);
        }
        assert_eq!(fired, 2 + 5, "at once, renewed, and after 1, 2, 4, 8, 16 seconds");
    }

    #[test]
    fn a_trigger_that_alone_is_refused_does_not_take_every_probe_from_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "t");
        let keys = keyring(&path);
        let (bad, good) = (trigger("bad", Some("c")), trigger("good", Some("c")));
        exchange(&keys, &bad, 401, 0);
        exchange(&keys, &bad, 401, 0);
        assert!(is_shut(keys.admission(&good, UnixMillis(999))), "the credential is in question");
        assert_eq!(keys.admission(&bad, UnixMillis(1000)), Admission::Probe, "it was quicker");
        exchange(&keys, &bad, 401, 1000);
        assert!(is_shut(keys.admission(&bad, UnixMillis(2999))), "its own gate keeps it off for two seconds");
        assert_eq!(
            keys.admission(&good, UnixMillis(2000)),
            Admission::Probe,
            "so the next probe is another's"
        );
        exchange(&keys, &good, 202, 2000);
        assert_eq!(keys.admission(&good, UnixMillis(2000)), Admission::Open);
    }

    #[test]
    fn a_trigger_without_a_credential_is_gated_alone() {
        let keys = Keyring::new(HashMap::new(), UnixMillis(0));
        let (one, two) = (trigger("one", None), trigger("two", None));
        exchange(&keys, &one, 401, 0);
        exchange(&keys, &one, 401, 0);
        assert!(is_shut(keys.admission(&one, UnixMillis(0))));
        assert_eq!(keys.admission(&two, UnixMillis(0)), Admission::Open);
        assert_eq!(keys.admission(&one, UnixMillis(1000)), Admission::Probe);
        drop(keys.enter(&one).unwrap());
        assert_eq!(keys.admission(&one, UnixMillis(2000)), Admission::Probe, "dropped, so free again");
    }

    #[test]
    fn an_unreadable_secret_shuts_until_it_is_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let keys = keyring(&path);
        let one = trigger("one", Some("c"));
        let shut = |until| Admission::Shut { until: UnixMillis(until), code: Code::CredentialUnavailable };
        assert_eq!(keys.admission(&one, UnixMillis(0)), shut(1000));
        let broke = keys.enter(&one).err().unwrap();
        assert_eq!(broke.code(), Code::CredentialUnavailable);
        assert!(broke.why().contains("credential c") && broke.why().contains("No such file"), "{broke:?}");
        assert_eq!(keys.admission(&one, UnixMillis(1000)), shut(3000));
        write(&path, "found");
        assert_eq!(keys.admission(&one, UnixMillis(2999)), shut(3000));
        assert_eq!(keys.admission(&one, UnixMillis(3000)), Admission::Open);
        assert_eq!(exchange(&keys, &one, 202, 3000), "Bearer found");
    }

    #[test]
    fn a_credential_that_is_not_configured_is_unavailable() {
        let keys = Keyring::new(HashMap::new(), UnixMillis(0));
        let lost = trigger("lost", Some("gone"));
        assert!(is_shut(keys.admission(&lost, UnixMillis(0).plus(Duration::from_secs(1)))));
        assert_eq!(keys.enter(&lost).err().unwrap().code(), Code::CredentialUnavailable);
    }
}
