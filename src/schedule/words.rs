//! An expression in plain words, for people who want to see that it means what they meant.

use super::expression::Fields;
use super::field::{DAY, Field, HOUR, Item, Kind, MINUTE, MONTH, SECOND, YEAR};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// More times of the day than this are not listed one by one.
const MOST_TIMES: usize = 6;

/// The whole expression.
pub(super) fn describe(fields: &Fields) -> String {
    let parts = [Some(time(fields)), days(fields), months(fields), years(fields)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn time(fields: &Fields) -> String {
    let seconds = values(&fields.second, &SECOND);
    let minutes = values(&fields.minute, &MINUTE);
    let hours = values(&fields.hour, &HOUR);
    if let ([second], [minute]) = (&seconds[..], &minutes[..])
        && hours.len() <= MOST_TIMES
    {
        let second = if *second == 0 { String::new() } else { format!(":{second:02}") };
        let times: Vec<_> = hours.iter().map(|hour| format!("{hour:02}:{minute:02}{second}")).collect();
        return format!("at {}", list(&times));
    }
    let mut parts = Vec::new();
    if seconds != [0] {
        parts.push(some("second", &seconds, 60));
    }
    // With seconds of their own, every minute goes without saying.
    if seconds == [0] || minutes.len() < 60 {
        parts.push(some("minute", &minutes, 60));
    }
    if hours.len() < 24 {
        parts.push(match (progression(&hours, 24), &minutes[..]) {
            (Some(step), [_]) => format!("every {step} hours"),
            _ => format!("in {}", numbers("hour", &hours)),
        });
    } else if minutes.len() < 60 && progression(&minutes, 60).is_none() {
        parts.push("of every hour".to_owned());
    }
    parts.join(", ")
}

/// Seconds or minutes.
fn some(unit: &str, values: &[u16], count: u16) -> String {
    match progression(values, count) {
        Some(1) => format!("every {unit}"),
        Some(step) => format!("every {step} {unit}s"),
        None => format!("at {}", numbers(unit, values)),
    }
}

/// The step, if the values go on evenly from one day or hour to the next.
fn progression(values: &[u16], count: u16) -> Option<u16> {
    let step = count / u16::try_from(values.len()).ok()?;
    let even = values.len() > 1 && (0..count).step_by(usize::from(step)).eq(values.iter().copied());
    (even && count.is_multiple_of(step)).then_some(step)
}

fn days(fields: &Fields) -> Option<String> {
    let day = (!fields.day.is_free()).then(|| days_of_month(&fields.day));
    let weekday = (!fields.weekday.is_free()).then(|| weekdays(&fields.weekday));
    match (day, weekday) {
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => Some(format!("on {only}")),
        (Some(day), Some(weekday)) => Some(format!("on {day}, and also on {weekday}")),
    }
}

fn days_of_month(field: &Field) -> String {
    let mut parts = Vec::new();
    let plain = values(field, &DAY);
    if !plain.is_empty() {
        parts.push(numbers("day", &plain));
    }
    parts.extend(field.items().iter().filter_map(|item| match *item {
        Item::Last { back, nearest } => Some(from_last(back, nearest)),
        Item::Nearest { day } => Some(format!("the weekday (Monday to Friday) nearest to day {day}")),
        _ => None,
    }));
    list(&parts)
}

fn from_last(back: u16, nearest: bool) -> String {
    match (back, nearest) {
        (0, true) => "the last weekday (Monday to Friday) of the month".to_owned(),
        (_, true) => format!("the weekday (Monday to Friday) nearest to {}", from_last(back, false)),
        (0, false) => "the last day of the month".to_owned(),
        (1, false) => "the day before the last day of the month".to_owned(),
        (days, false) => format!("the day that is {days} days before the last day of the month"),
    }
}

fn weekdays(field: &Field) -> String {
    let mut parts = Vec::new();
    // Monday first, so that runs to Sunday are runs; 7 is Sunday too.
    let plain: Vec<u16> = (1..=7).filter(|day| field.has(*day) || *day == 7 && field.has(0)).collect();
    let name = |day: u16| WEEKDAYS[usize::from(day % 7)];
    parts.extend(runs(&plain).into_iter().map(|(first, last)| match last - first {
        0 => name(first).to_owned(),
        _ => format!("{} to {}", name(first), name(last)),
    }));
    parts.extend(field.items().iter().filter_map(|item| match *item {
        Item::Nth { weekday, nth } => {
            Some(format!("the {} {} of the month", NTH[usize::from(nth - 1)], name(weekday)))
        }
        Item::LastOf { weekday } => Some(format!("the last {} of the month", name(weekday))),
        _ => None,
    }));
    list(&parts)
}

fn months(fields: &Fields) -> Option<String> {
    let values = values(&fields.month, &MONTH);
    let name = |month: u16| MONTHS[usize::from(month - 1)];
    let parts: Vec<_> = runs(&values)
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => name(first).to_owned(),
            _ => format!("{} to {}", name(first), name(last)),
        })
        .collect();
    (!fields.month.is_free()).then(|| format!("in {}", list(&parts)))
}

fn years(fields: &Fields) -> Option<String> {
    (!fields.year.is_free()).then(|| format!("in {}", numbers("", &values(&fields.year, &YEAR)).trim_start()))
}

/// All plain values of a field.
fn values(field: &Field, kind: &Kind) -> Vec<u16> {
    (kind.min..=kind.max).filter(|value| field.has(*value)).collect()
}

/// `minute 5`, `hours 8-18 and 20`.
fn numbers(unit: &str, values: &[u16]) -> String {
    let parts: Vec<_> = runs(values)
        .into_iter()
        .flat_map(|(first, last)| match last - first {
            0 => vec![first.to_string()],
            1 => vec![first.to_string(), last.to_string()],
            _ => vec![format!("{first}-{last}")],
        })
        .collect();
    let plural = if values.len() > 1 && !unit.is_empty() { "s" } else { "" };
    format!("{unit}{plural} {}", list(&parts))
}

/// The first and last of each run of neighbours.
fn runs(values: &[u16]) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *value => *last = *value,
            _ => runs.push((*value, *value)),
        }
    }
    runs
}

fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use crate::schedule::Expression;

    #[test]
    fn words_say_what_the_text_means_and_in_which_dialect() {
        for (text, words) in [
            ("* * * * *", "POSIX cron: every minute"),
            ("*/15 * * * *", "POSIX cron: every 15 minutes"),
            ("0-30/15 * * * *", "POSIX cron: at minutes 0, 15 and 30, of every hour"),
            ("*/7 8-18 * * *", "POSIX cron: at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56, in hours 8-18"),
            ("30 2 * * *", "POSIX cron: at 02:30"),
            ("30 2,14 * * 1-5", "POSIX cron: at 02:30 and 14:30, on Monday to Friday"),
            ("0 */2 * * *", "POSIX cron: at minute 0, every 2 hours"),
            ("0 12 13 * FRI", "POSIX cron: at 12:00, on day 13, and also on Friday"),
            ("0 12 * * 5-7", "POSIX cron: at 12:00, on Friday to Sunday"),
            ("0 0 L * *", "POSIX cron: at 00:00, on the last day of the month"),
            ("0 0 LW * *", "POSIX cron: at 00:00, on the last weekday (Monday to Friday) of the month"),
            ("0 9 * 1,7 5#2", "POSIX cron: at 09:00, on the second Friday of the month, in January and July"),
            ("@weekly", "POSIX cron: at 00:00, on Sunday"),
            ("0 0 12 ? * 1", "Quartz: at 12:00, on Sunday"),
            ("0 0 12 ? * 2-6", "Quartz: at 12:00, on Monday to Friday"),
            ("0 0 12 ? * 6L 2026-2028", "Quartz: at 12:00, on the last Friday of the month, in 2026-2028"),
            (
                "30 15 10 L-3 * ?",
                "Quartz: at 10:15:30, on the day that is 3 days before the last day of the month",
            ),
            ("*/20 * 8 * * ?", "Quartz: every 20 seconds, in hour 8"),
            ("0 0/5 14,18 * * ?", "Quartz: every 5 minutes, in hours 14 and 18"),
            ("0 0 22-2 * * ?", "Quartz: at 00:00, 01:00, 02:00, 22:00 and 23:00"),
            ("@every 90m", "@every: every 1h30m of elapsed time"),
        ] {
            assert_eq!(Expression::parse(text).unwrap().describe(), words, "{text}");
        }
    }
}
