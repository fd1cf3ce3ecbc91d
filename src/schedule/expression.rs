//! The text that says when: which dialect it is, whether it means anything, and the local times that it names.
//!
//! Five fields are POSIX cron, six or seven are Quartz; nothing else tells them apart. Each field is read here and
//! by `field`, strictly and with a message that says what would be right, and handed on in numbers of one meaning.

use std::fmt;
use std::time::Duration;

use super::evaluation::Pattern;
use super::every;
use super::field::{self, DAY, Field, HOUR, Item, MINUTE, MONTH, SECOND, YEAR};
use super::words;
use super::zone::Wall;

/// A longer text is a mistake.
const LONGEST_BYTES: usize = 255;

/// What a nickname stands for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// How a text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Five fields, from the minute on; 0 and 7 are Sunday. Nicknames such as `@daily` too.
    Posix,
    /// Six fields, from the second on, or seven with a year; 1 is Sunday and 7 Saturday.
    Quartz,
    /// `@every` and a period: elapsed time, no calendar.
    Every,
}

impl Dialect {
    /// The name, as people say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Posix => "POSIX cron",
            Self::Quartz => "Quartz",
            Self::Every => "@every",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no expression: one line that names the field, what is wrong with it, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wrong}; {right}")]
pub struct Problem {
    field: &'static str,
    wrong: String,
    right: String,
}

impl Problem {
    pub(super) fn new(field: &'static str, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self { field, wrong: wrong.into(), right: right.into() }
    }
}

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    dialect: Dialect,
    interval: bool,
    words: String,
    meaning: Meaning,
}

#[derive(Clone, Debug)]
enum Meaning {
    Period(Duration),
    Pattern(Box<Pattern>),
}

/// The fields of a text; the second of a POSIX text is 0, the year of most is free.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) dialect: Dialect,
    pub(super) second: Field,
    pub(super) minute: Field,
    pub(super) hour: Field,
    pub(super) day: Field,
    pub(super) month: Field,
    pub(super) weekday: Field,
    pub(super) year: Field,
}

impl Expression {
    /// Reads a text.
    ///
    /// # Errors
    /// If it is none, or if its times never come.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > LONGEST_BYTES {
            let wrong = format!("{} bytes long", text.len());
            return Err(Problem::new("expression", wrong, format!("{LONGEST_BYTES} are allowed")));
        }
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(Problem::new("expression", "it has control characters", "write it on one line"));
        }
        let words: Vec<_> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.split_first() {
            Some((nickname, rest)) if nickname.starts_with('@') => Self::nickname(nickname, rest),
            _ => Self::fields(&words),
        }
    }

    fn nickname(word: &str, rest: &[&str]) -> Result<Self, Problem> {
        let name = word.to_ascii_lowercase();
        if name == "@every" {
            let period = every::parse(&rest.join(" "))?;
            let spelt = every::spell(period);
            return Ok(Self {
                text: format!("@every {spelt}"),
                dialect: Dialect::Every,
                interval: true,
                words: format!("every {spelt} of elapsed time"),
                meaning: Meaning::Period(period),
            });
        }
        match NICKNAMES.iter().find(|(nickname, _)| *nickname == name) {
            Some((_, fields)) if rest.is_empty() => {
                let words: Vec<_> = fields.split(' ').collect();
                Ok(Self { text: name, ..Self::fields(&words)? })
            }
            Some(_) => Err(Problem::new(
                "expression",
                format!("{name} is followed by something"),
                "a nickname stands alone",
            )),
            None => Err(Problem::new(
                "expression",
                format!("{word:?} is not known"),
                "@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and @every 90s are",
            )),
        }
    }

    fn fields(words: &[&str]) -> Result<Self, Problem> {
        let words: Vec<_> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        let fields = Fields::parse(&words)?;
        fields.check_days()?;
        let quartz = fields.dialect == Dialect::Quartz;
        let time = &words[..if quartz { 3 } else { 2 }];
        // `0/2` and `/2` are how Quartz writes `*/2`; `0/0` is but a 0 there.
        let open = |word: &str| {
            let step = word.strip_prefix("0/").or_else(|| word.strip_prefix('/'));
            step.is_some_and(|step| step.trim_start_matches('0').starts_with(|c: char| c.is_ascii_digit()))
        };
        let starred = |word: &String| word.starts_with('*') || quartz && open(word);
        let all_hours = (0..24).all(|hour| fields.hour.has(hour));
        Ok(Self {
            text: words.join(" "),
            dialect: fields.dialect,
            interval: all_hours || time.iter().any(starred),
            words: words::describe(&fields),
            meaning: Meaning::Pattern(Box::new(Pattern::new(&fields)?)),
        })
    }

    /// How the text was read.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it follows elapsed time across a change of the clock: `@every`, and where a field of the time of day begins
    /// with `*`, as Vixie's cron has it, or names all hours. All others are fixed times of the day, and obey the policies
    /// for such changes.
    #[must_use]
    pub const fn is_interval(&self) -> bool {
        self.interval
    }

    /// What it means in words, the dialect first.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}: {}", self.dialect, self.words)
    }

    /// The period of `@every`.
    pub(super) const fn period(&self) -> Option<Duration> {
        match self.meaning {
            Meaning::Period(period) => Some(period),
            Meaning::Pattern(_) => None,
        }
    }

    /// The first local time after this one that it names. `@every` names none.
    pub(super) fn next(&self, after: Wall) -> Option<Wall> {
        match &self.meaning {
            Meaning::Period(_) => None,
            Meaning::Pattern(pattern) => pattern.next(after),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl Fields {
    fn parse(words: &[String]) -> Result<Self, Problem> {
        let zero = Field::Some(vec![Item::Span { from: 0, to: 0, step: 1 }]);
        let dialect = match words.len() {
            5 => Dialect::Posix,
            6 | 7 => Dialect::Quartz,
            0 => return Err(Problem::new("expression", "it is empty", "write 5, 6 or 7 fields")),
            count => {
                let right = "5 are POSIX cron (from the minute on), 6 or 7 are Quartz (from the second on)";
                return Err(Problem::new("expression", format!("{count} fields"), right));
            }
        };
        let (second, words) = match dialect {
            Dialect::Quartz => (Field::parse(&SECOND, dialect, &words[0])?, &words[1..]),
            _ => (zero, words),
        };
        Ok(Self {
            dialect,
            second,
            minute: Field::parse(&MINUTE, dialect, &words[0])?,
            hour: Field::parse(&HOUR, dialect, &words[1])?,
            day: Field::parse(&DAY, dialect, &words[2])?,
            month: Field::parse(&MONTH, dialect, &words[3])?,
            weekday: Field::parse(field::weekday(dialect), dialect, &words[4])?,
            year: words.get(5).map_or(Ok(Field::All), |word| Field::parse(&YEAR, dialect, word))?,
        })
    }

    /// What the day fields may not say together, and days that never come.
    fn check_days(&self) -> Result<(), Problem> {
        if self.dialect == Dialect::Quartz {
            let both = "Quartz knows no day of month and day of week together";
            if self.day == Field::Open && self.weekday == Field::Open {
                return Err(Problem::new("day of week", "? is in both day fields", "write * in one of them"));
            }
            // A `*` for the day of week says nothing, whatever the day of month is; Quartz wants a `?` there.
            if !self.weekday.is_free() && self.day != Field::Open {
                return Err(Problem::new("day of month", both, "write ? in the one that does not matter"));
            }
        }
        // With POSIX a weekday may come where the day of the month does not.
        if self.day.is_free() || !self.weekday.is_free() {
            return Ok(());
        }
        let leap = (1970..2200).any(|year: u16| self.year.has(year) && is_leap(year));
        let longest = (1..=12).filter(|month| self.month.has(*month)).map(|month| match month {
            2 => 28 + u16::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        });
        let longest = longest.max().unwrap_or(31);
        let comes = self.day.items().iter().any(|item| match *item {
            Item::Span { from: day, .. } | Item::Nearest { day } => day <= longest,
            Item::Last { back, .. } => back < longest,
            Item::Nth { .. } | Item::LastOf { .. } => true,
        });
        if comes {
            return Ok(());
        }
        let wrong = format!("the months that are named have {longest} days at most, so it never comes");
        Err(Problem::new("day of month", wrong, "name a day that they have"))
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}
