//! What is seen of the play: one moving line a request on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use triggerd::queue::console::Record;

use crate::cli::failure::Failure;
use crate::cli::print;

/// Where it is shown.
pub(super) struct Show {
    begun: std::time::Instant,
    bars: Option<MultiProgress>,
    quiet: bool,
    /// The state that was shown last, and its line, by id.
    shown: BTreeMap<i64, (String, Option<ProgressBar>)>,
}

impl Show {
    /// Lines that move if a person looks on; none at all if only the end is wanted (`quiet`).
    pub(super) fn new(begun: std::time::Instant, quiet: bool) -> Self {
        let person = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bars = (person && !quiet).then(MultiProgress::new);
        Self { begun, bars, quiet, shown: BTreeMap::new() }
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) -> Result<(), Failure> {
        match &self.bars {
            _ if self.quiet => Ok(()),
            Some(bars) => {
                // Nobody is left to tell if the terminal has gone.
                let _ = bars.println(print::plain(line));
                Ok(())
            }
            None => print::out(format!("{}\n", print::plain(line))),
        }
    }

    /// A statement, and what came of it below.
    pub(super) fn quote(&self, sql: &str, came: &str) -> Result<(), Failure> {
        self.say(&format!("         {sql};"))?;
        self.say(&format!("           -- {came}"))
    }

    /// A line that stays, with the time.
    pub(super) fn tell(&self, line: &str) -> Result<(), Failure> {
        self.say(&format!("{:5.1} s  {line}", self.begun.elapsed().as_secs_f64()))
    }

    /// How all requests stand; what has changed is shown.
    pub(super) fn update(&mut self, rows: &[Record]) -> Result<(), Failure> {
        for row in rows {
            let (Some(id), Some(state)) = (row.int("id"), row.text("state")) else { continue };
            // That it was inserted has been said.
            let before = self.shown.get(&id).map_or("pending", |(shown, _)| shown);
            if before == state && (self.bars.is_none() || self.shown.contains_key(&id)) {
                continue;
            }
            let code = row.text("error_code").map(|code| format!(" ({code})")).unwrap_or_default();
            let text = format!("{id}  {:16} {state}{code}", row.text("trigger_name").unwrap_or_default());
            let line = self.shown.remove(&id).and_then(|(_, line)| line);
            let line = self.line(line, &text, row.int("is_final") == Some(1))?;
            self.shown.insert(id, (state.to_owned(), line));
        }
        Ok(())
    }

    fn line(
        &self,
        line: Option<ProgressBar>,
        text: &str,
        done: bool,
    ) -> Result<Option<ProgressBar>, Failure> {
        let Some(bars) = &self.bars else {
            self.tell(text)?;
            return Ok(None);
        };
        let line = line.unwrap_or_else(|| {
            let line = bars.add(ProgressBar::new_spinner().with_style(style()));
            line.enable_steady_tick(Duration::from_millis(100));
            line
        });
        if done {
            line.finish_with_message(text.to_owned());
        } else {
            line.set_message(text.to_owned());
        }
        Ok(Some(line))
    }

    /// Takes the moving lines away: the table says it all.
    pub(super) fn end(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4}  {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}
