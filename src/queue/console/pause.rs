//! Pausing and resuming triggers: the operator's two columns of the table `triggers`.

use super::{Cell, Console, Error, Record, records};

/// What pausing or resuming came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Paused {
    /// The trigger as it was before.
    Done(Record),
    /// There is no such trigger; these there are.
    Unknown(Vec<String>),
}

impl Console {
    /// Keeps a trigger from being fired. What it fired already is polled on.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn pause(&mut self, trigger: &str, reason: Option<&str>) -> Result<Paused, Error> {
        self.set_paused(trigger, true, reason).await
    }

    /// Lets it be fired again.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn resume(&mut self, trigger: &str) -> Result<Paused, Error> {
        self.set_paused(trigger, false, None).await
    }

    async fn set_paused(
        &mut self,
        trigger: &str,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<Paused, Error> {
        let name = Cell::Text(trigger.to_owned());
        let reason = reason.map_or(Cell::Null, |reason| Cell::Text(reason.to_owned()));
        let values = [name.clone(), Cell::Int(paused.into()), reason];
        self.write(async |connection| {
            let before = records(connection, include_str!("../sqlite/console_trigger.sql"), &[name]).await?;
            let Some(before) = before.into_iter().next() else {
                let all = records(connection, include_str!("../sqlite/console_triggers.sql"), &[]).await?;
                let names = all.iter().filter_map(|record| record.text("name").map(str::to_owned));
                return Ok(Paused::Unknown(names.collect()));
            };
            records(connection, include_str!("../sqlite/console_pause.sql"), &values).await?;
            Ok(Paused::Done(before))
        })
        .await
    }
}
