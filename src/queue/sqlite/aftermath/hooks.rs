//! Hooks: requests of a trigger that have ended in such a state insert one of another trigger, which is told how they ended.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{End, Followed, Result, insert, list, splice, statements, text};
use crate::clock::UnixMillis;
use crate::trigger::Trigger;

/// The hooks of the configuration.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Hooks {
    /// Whose end, in which state, fires whom.
    all: Vec<(String, &'static str, String)>,
    /// The first two of each, for a statement; none if there are no hooks.
    wanted: Option<String>,
    /// The most bytes of arguments that one of them takes.
    largest: u64,
}

impl Hooks {
    pub(in super::super) fn of(triggers: &[Arc<Trigger>]) -> Self {
        let mut all = Vec::new();
        for trigger in triggers {
            for hook in &trigger.on_end {
                let each =
                    hook.states.iter().map(|state| (trigger.name.clone(), *state, hook.trigger.clone()));
                all.extend(each);
            }
        }
        let wanted: Vec<_> = all.iter().map(|(trigger, state, _)| (trigger, state)).collect();
        let wanted = (!wanted.is_empty()).then(|| list(&wanted));
        let is_target = |name: &str| all.iter().any(|(_, _, target)| target == name);
        let targets = triggers.iter().filter(|trigger| is_target(&trigger.name));
        let largest = targets.map(|trigger| trigger.max_arguments).max().unwrap_or(0);
        Self { all, wanted, largest }
    }

    pub(super) fn wanted(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    fn targets(&self, trigger: &str, state: &str) -> impl Iterator<Item = &str> {
        let hooks = self.all.iter().filter(move |(name, when, _)| name == trigger && *when == state);
        hooks.map(|(_, _, target)| target.as_str())
    }

    /// Inserts what the hooks of `ends` want.
    pub(super) async fn fire(
        &self,
        c: &mut SqliteConnection,
        ends: &[End],
        now: UnixMillis,
        out: &mut Followed,
    ) -> Result<()> {
        let hooked = ends.iter().filter(|end| end.whole);
        let hooked = hooked.filter(|end| self.targets(&end.trigger_name, end.state()).next().is_some());
        let ids: Vec<i64> = hooked.map(|end| end.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let largest = i64::try_from(self.largest).unwrap_or(i64::MAX);
        for row in statements::hooked(c, &ids, largest).await? {
            let told = Told::read(&row)?;
            for target in self.targets(&told.trigger_name, &told.state) {
                told.insert(c, target, now, out).await?;
            }
        }
        Ok(())
    }
}

/// What a hook is told of a request that has ended.
struct Told {
    id: i64,
    trigger_name: String,
    state: String,
    /// The text of a JSON object without its closing brace.
    head: String,
    /// The text of a JSON value; none: too long for any.
    output: Option<String>,
    correlation_id: Option<String>,
    priority: i64,
}

impl Told {
    fn read(row: &SqliteRow) -> Result<Self> {
        let id = row.try_get(0)?;
        let string = |index| -> Result<String> {
            Ok(text(row, index)?.map_or_else(|| "null".to_owned(), |text| splice::string(&text)))
        };
        // Of any other type: nothing that the daemon wrote.
        let number = |index| row.try_get::<Option<i64>, _>(index).ok().flatten();
        let number = |index| number(index).map_or_else(|| "null".to_owned(), |number| number.to_string());
        let head = format!(
            "{{\"id\":{id},\"trigger_name\":{},\"state\":{},\"error_code\":{},\"error_message\":{},\"http_status\":{},\
             \"attempt\":{},\"correlation_id\":{},\"unique_key\":{}",
            string(1)?,
            string(2)?,
            string(3)?,
            string(4)?,
            number(5),
            number(6),
            string(7)?,
            string(8)?
        );
        let has_text = row.try_get::<i64, _>(10)? != 0;
        let output = match text(row, 11)? {
            Some(output) => {
                Some(splice::value(&output).map_or_else(|| splice::string(&output), str::to_owned))
            }
            None if has_text => None,
            None => Some("null".to_owned()),
        };
        Ok(Self {
            id,
            trigger_name: text(row, 1)?.unwrap_or_default(),
            state: text(row, 2)?.unwrap_or_default(),
            head,
            output,
            correlation_id: text(row, 7)?,
            priority: row.try_get(9).unwrap_or(0),
        })
    }

    /// Never keeps an end from being stored: where the table would refuse the request, that is said.
    async fn insert(
        &self,
        c: &mut SqliteConnection,
        target: &str,
        now: UnixMillis,
        out: &mut Followed,
    ) -> Result<()> {
        let whole = self.output.as_ref().map(|output| format!("{},\"output\":{output}}}", self.head));
        let without = format!("{},\"output_omitted\":true}}", self.head);
        for arguments in whole.into_iter().chain([without]) {
            let correlation_id = self.correlation_id.as_deref();
            let id = insert(c, target, &arguments, correlation_id, self.priority, now, out).await?;
            if let Some(id) = id {
                tracing::debug!(request.id = self.id, "request {} has ended: request {id} follows", self.id);
                return Ok(());
            }
        }
        tracing::warn!(
            request.id = self.id,
            trigger.name = target,
            "request {} has ended as {}, but its hook cannot insert a request of trigger {target}: the trigger has left the \
             configuration, or its max_arguments is too small",
            self.id,
            self.state
        );
        Ok(())
    }
}
