//! Rules by which events repeat (RFC 5545, section 3.3.10), written out as dates.

use ical::recur::expand::IcalRecurExpand;
use ical::recur::{IcalRecurDateTime, IcalRecurFreq, IcalRecurRule};
use jiff::civil::Date;

use super::quoted;

/// A rule that lists every day of a year is longer, and no rule.
const LONGEST_BYTES: usize = 500;

/// The parts a rule may have. Others would change what it means.
const PARTS: [&str; 16] = [
    "FREQ",
    "UNTIL",
    "COUNT",
    "INTERVAL",
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYDAY",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
    "WKST",
    "RSCALE",
    "SKIP",
];

/// A rule that gives days.
#[derive(Clone, Debug)]
pub(super) struct Rule(IcalRecurRule);

/// What a rule comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Days {
    /// In their order, none after the end.
    pub(super) days: Vec<Date>,
    /// Whether there may be more after it.
    pub(super) goes_on: bool,
}

impl Rule {
    /// Reads it: the value of an `RRULE`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_BYTES {
            return Err(format!("is longer than {LONGEST_BYTES} bytes"));
        }
        // The library passes over what it does not know, as the standard wants of a program that shows a calendar.
        let mut seen = Vec::new();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = name.trim().to_ascii_uppercase();
            if !PARTS.contains(&name.as_str()) {
                return Err(format!("has the part {}, which is not known", quoted(&name)));
            }
            if value.split(',').any(|item| item.trim().is_empty()) {
                return Err(format!("has the part {name} without a value"));
            }
            if seen.contains(&name) {
                return Err(format!("has the part {name} twice"));
            }
            seen.push(name);
        }

        let mut rule = IcalRecurRule::parse(text).map_err(|error| format!("is not a rule: {error}"))?;
        // Of an event without a time of day these are to be passed over.
        for times in [&mut rule.by_hour, &mut rule.by_minute, &mut rule.by_second] {
            times.clear();
        }
        if matches!(rule.freq, IcalRecurFreq::Hourly | IcalRecurFreq::Minutely | IcalRecurFreq::Secondly) {
            return Err("repeats within the day, though its event has no time of day".to_owned());
        }
        if rule.scale.as_deref().is_some_and(|scale| scale != "GREGORIAN") {
            return Err("is for another calendar than the Gregorian (RSCALE)".to_owned());
        }
        if rule
            .by_day
            .iter()
            .any(|day| day.ordinal.is_some_and(|nth| !(1..=53).contains(&nth.unsigned_abs())))
        {
            return Err("has a number in BYDAY that is not one of 1 to 53 or -53 to -1".to_owned());
        }
        if let Some(problem) = rule.problems().first() {
            return Err(format!("is not a rule: {problem}"));
        }
        if let Some(until) = &mut rule.until {
            *until = IcalRecurDateTime::date(until.year, until.month, until.day);
        }
        Ok(Self(rule))
    }

    /// The days from `start` up to `end`. What it costs grows with the time between the two.
    pub(super) fn days(&self, start: Date, end: Date) -> Days {
        let mut rule = self.0.clone();
        let (limit, until, count) = (civil(end), rule.until, rule.count);
        // Not by stopping at the end: a rule that names no day at all would be followed to the year 9999.
        rule.until = Some(until.map_or(limit, |until| until.min(limit)));
        let days: Vec<_> = IcalRecurExpand::new(rule, civil(start)).filter_map(date).collect();
        let counted = count.is_some_and(|count| u32::try_from(days.len()).is_ok_and(|had| had >= count));
        Days { goes_on: !counted && until.is_none_or(|until| until > limit), days }
    }
}

fn civil(date: Date) -> IcalRecurDateTime {
    let part = |part: i8| part.unsigned_abs();
    IcalRecurDateTime::date(date.year().into(), part(date.month()), part(date.day()))
}

fn date(civil: IcalRecurDateTime) -> Option<Date> {
    Date::new(civil.year.try_into().ok()?, civil.month.try_into().ok()?, civil.day.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn days(rule: &str, start: &str) -> Vec<String> {
        let days = Rule::parse(rule).unwrap().days(start.parse().unwrap(), date(2030, 12, 31)).days;
        days.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn holidays_as_their_laws_word_them() {
        for (law, rule, start, expected) in [
            ("New Year", "FREQ=YEARLY", "2028-01-01", vec!["2028-01-01", "2029-01-01", "2030-01-01"]),
            (
                "the fourth Thursday of November",
                "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
                "2026-11-26",
                vec!["2026-11-26", "2027-11-25", "2028-11-23", "2029-11-22", "2030-11-28"],
            ),
            (
                "the last Monday of May",
                "FREQ=YEARLY;BYDAY=-1MO;BYMONTH=5;COUNT=3",
                "2026-05-25",
                vec!["2026-05-25", "2027-05-31", "2028-05-29"],
            ),
            (
                "the Wednesday before 23 November",
                "FREQ=YEARLY;BYMONTH=11;BYMONTHDAY=16,17,18,19,20,21,22;BYDAY=WE;UNTIL=20281231",
                "2026-11-18",
                vec!["2026-11-18", "2027-11-17", "2028-11-22"],
            ),
            (
                "the last working day of the month",
                "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3",
                "2026-01-30",
                vec!["2026-01-30", "2026-02-27", "2026-03-31"],
            ),
            (
                "the last day of the month",
                "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3",
                "2028-01-31",
                vec!["2028-01-31", "2028-02-29", "2028-03-31"],
            ),
            (
                "every second Friday",
                "FREQ=WEEKLY;INTERVAL=2;BYDAY=FR;WKST=SU;COUNT=3",
                "2026-01-02",
                vec!["2026-01-02", "2026-01-16", "2026-01-30"],
            ),
            (
                "every third day",
                "FREQ=DAILY;INTERVAL=3;UNTIL=20260107",
                "2026-01-01",
                vec!["2026-01-01", "2026-01-04", "2026-01-07"],
            ),
            (
                "every fourth year, for an election",
                "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
                "2024-11-05",
                vec!["2024-11-05", "2028-11-07"],
            ),
        ] {
            assert_eq!(days(rule, start), expected, "{law}");
        }
    }

    #[test]
    fn a_leap_day_comes_in_leap_years_only() {
        assert_eq!(days("FREQ=YEARLY", "2020-02-29"), ["2020-02-29", "2024-02-29", "2028-02-29"]);
        assert_eq!(
            days("FREQ=YEARLY;RSCALE=GREGORIAN;SKIP=BACKWARD;COUNT=3", "2024-02-29"),
            ["2024-02-29", "2025-02-28", "2026-02-28"]
        );
        assert_eq!(days("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2020-01-01"), [""; 0]);
    }

    #[test]
    fn a_time_of_day_in_a_rule_for_days_changes_nothing() {
        assert_eq!(
            days("FREQ=DAILY;BYHOUR=9,17;BYMINUTE=30;COUNT=2", "2026-01-01"),
            ["2026-01-01", "2026-01-02"]
        );
        assert_eq!(days("FREQ=DAILY;UNTIL=20260102T120000Z", "2026-01-01"), ["2026-01-01", "2026-01-02"]);
    }

    #[test]
    fn a_rule_goes_on_if_the_end_cut_it_short() {
        for (rule, goes_on) in [
            ("FREQ=YEARLY", true),
            ("FREQ=YEARLY;COUNT=5", false),
            ("FREQ=YEARLY;COUNT=6", true),
            ("FREQ=YEARLY;UNTIL=20301231", false),
            ("FREQ=YEARLY;UNTIL=20310101", true),
        ] {
            let days = Rule::parse(rule).unwrap().days(date(2026, 1, 1), date(2030, 12, 31));
            assert_eq!((days.days.len(), days.goes_on), (5, goes_on), "{rule}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (rule, problem) in [
            ("", "is not a rule: Missing recurrence frequency"),
            ("FREQ=FORTNIGHTLY", "is not a rule: Unknown recurrence frequency"),
            ("FREQ=HOURLY", "repeats within the day, though its event has no time of day"),
            ("FREQ=YEARLY;BYEASTER=1", "has the part `BYEASTER`, which is not known"),
            ("FREQ=YEARLY;nonsense", "has the part `NONSENSE`, which is not known"),
            ("FREQ=YEARLY;BYMONTH=", "has the part BYMONTH without a value"),
            ("FREQ=YEARLY;COUNT", "has the part COUNT without a value"),
            ("FREQ=YEARLY;BYMONTH=1;BYMONTH=2", "has the part BYMONTH twice"),
            ("FREQ=YEARLY;BYMONTH=13", "is not a rule: Recurrence number out of range"),
            ("FREQ=YEARLY;BYDAY=0MO", "has a number in BYDAY that is not one of 1 to 53 or -53 to -1"),
            ("FREQ=WEEKLY;BYDAY=1MO", "is not a rule: a BYDAY ordinal may not be used with FREQ=WEEKLY"),
            ("FREQ=YEARLY;UNTIL=20260101;COUNT=2", "is not a rule: UNTIL and COUNT may not both be given"),
            ("FREQ=YEARLY;UNTIL=20260230", "is not a rule: Invalid recurrence date or date-time"),
            ("FREQ=YEARLY;INTERVAL=0", "is not a rule: Recurrence interval cannot be zero"),
            ("FREQ=YEARLY;RSCALE=HEBREW", "is for another calendar than the Gregorian (RSCALE)"),
            ("YD1 #0", "has the part `YD1 #0`, which is not known"),
        ] {
            assert_eq!(Rule::parse(rule).unwrap_err(), problem, "{rule}");
        }
        assert_eq!(Rule::parse(&"FREQ=YEARLY;".repeat(50)).unwrap_err(), "is longer than 500 bytes");
    }
}
