//! `triggerd submit`: inserts a request, as any producer would.

use std::path::Path;

use jiff::tz::TimeZone;
use triggerd::clock::{Clock, SystemClock, UnixMillis};
use triggerd::config;
use triggerd::queue::console::{After, Cell, Console, NewRequest, Record};

use super::failure::{Failure, NOT_WELL, USAGE};
use super::print::{self, Json};
use super::wait;

pub(crate) async fn run(file: Option<&Path>, verb: super::Submit) -> Result<(), Failure> {
    let now = SystemClock.now();
    let request = NewRequest {
        arguments: arguments(verb.json_args.as_deref(), &verb.arguments)?,
        trigger_name: verb.trigger,
        call_mode: verb.call_mode,
        priority: verb.priority,
        run_at: verb.at.or(verb.wait_first.map(|wait| now.plus(wait))),
        deadline_at: verb.deadline.map(|deadline| now.plus(deadline)),
        unique_key: verb.unique_key,
        concurrency_key: verb.concurrency_key,
        group_key: verb.group,
        after: verb.after.map(|id| after(id, verb.after_ended, verb.after_arg)),
    };
    if request.deadline_at.is_some_and(|deadline| deadline <= request.run_at.unwrap_or(now)) {
        return Err(Failure::new(USAGE, "--deadline passes before the request may run"));
    }
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let id = console.submit(&request).await?;
    tell(&mut console, id, verb.wait, verb.json).await
}

/// The id of a request that was inserted; and, if that is wanted, its end.
pub(super) async fn tell(console: &mut Console, id: i64, wait: bool, json: bool) -> Result<(), Failure> {
    if !wait {
        let object = Record(vec![("id".to_owned(), Cell::Int(id))]);
        return print::out(if json { print::json(&Json(&object))? } else { format!("{id}\n") });
    }
    print::note(&format!("request {id}"));
    let mut end = None;
    let well = wait::follow(console, &[id], |record| {
        end = Some(record.clone());
        Ok(())
    })
    .await?;
    // None if somebody deleted it, which has been said.
    if let Some(end) = end {
        if json {
            print::out(print::json(&Json(&end))?)?;
        } else {
            // As it came, so that it can be piped on.
            match console.output(id).await? {
                Cell::Text(text) => print::out(text)?,
                Cell::Bytes(bytes) => print::out(bytes)?,
                _ => {}
            }
        }
        if well && end.text("error_code").is_some() {
            // A success that is not whole.
            print::note(&format!("triggerd: request {}", wait::line(&end)));
        }
        if !well {
            return Err(Failure::new(NOT_WELL, format!("request {}", wait::line(&end))));
        }
    }
    if well { Ok(()) } else { Err(Failure::silent(NOT_WELL)) }
}

/// `NAME` or `NAME=POINTER`: no name of an argument that one would choose has a `=` and a slash.
fn after(id: i64, ended: bool, argument: Option<String>) -> After {
    let (argument, pointer) = match argument {
        None => (None, None),
        Some(text) => match text.split_once('=') {
            Some((name, pointer)) => (Some(name.to_owned()), Some(pointer.to_owned())),
            None => (Some(text), None),
        },
    };
    After { id, ended, argument, pointer }
}

/// `--arg`: a name and the text of a JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Argument {
    name: String,
    json: String,
}

/// `K=V`, a string, or `K:=V`, any JSON value.
pub(crate) fn argument(text: &str) -> Result<Argument, String> {
    let (name, value) = text.split_once('=').ok_or("must be K=V or K:=JSON")?;
    let (name, json) = match name.strip_suffix(':') {
        None => (name, serde_json::Value::from(value).to_string()),
        Some(name) => match serde_json::from_str::<serde_json::Value>(value) {
            // As it was typed: a number keeps all its digits.
            Ok(_) => (name, value.trim().to_owned()),
            Err(error) => return Err(format!("after := must be JSON: {error}")),
        },
    };
    if name.is_empty() { Err("has no name".to_owned()) } else { Ok(Argument { name: name.to_owned(), json }) }
}

/// The text of all arguments; none if there are none. A whole text that nothing is added to is passed on as it is: the
/// schema judges it.
fn arguments(whole: Option<&str>, single: &[Argument]) -> Result<Option<String>, Failure> {
    let whole = whole.map(read).transpose()?;
    if single.is_empty() {
        return Ok(whole);
    }
    let whole = whole.unwrap_or_else(|| "{}".to_owned());
    let mut names: Vec<String> = match serde_json::from_str::<serde_json::Map<_, _>>(&whole) {
        Ok(object) => object.into_iter().map(|(name, _)| name).collect(),
        Err(error) => return Err(Failure::new(USAGE, format!("--json-args must be a JSON object: {error}"))),
    };
    let mut text = whole.trim().to_owned();
    text.pop(); // the closing brace, back in the end
    for argument in single {
        if names.contains(&argument.name) {
            return Err(Failure::new(USAGE, format!("the argument {} is given twice", argument.name)));
        }
        let comma = if names.is_empty() { "" } else { "," };
        text.push_str(&format!(
            "{comma}{}:{}",
            serde_json::Value::from(argument.name.as_str()),
            argument.json
        ));
        names.push(argument.name.clone());
    }
    Ok(Some(text + "}"))
}

/// The text itself, `@FILE`, or `-` for standard input.
fn read(source: &str) -> Result<String, Failure> {
    let text = match (source, source.strip_prefix('@')) {
        ("-", _) => std::io::read_to_string(std::io::stdin().lock()),
        (_, Some(file)) => std::fs::read_to_string(file),
        (text, None) => Ok(text.to_owned()),
    };
    text.map(|text| text.trim().to_owned())
        .map_err(|error| Failure::new(USAGE, format!("--json-args {source}: {error}")))
}

/// An instant with its zone, or a local time.
pub(crate) fn instant(text: &str) -> Result<UnixMillis, String> {
    instant_in(text, TimeZone::try_system().ok().as_ref())
}

fn instant_in(text: &str, zone: Option<&TimeZone>) -> Result<UnixMillis, String> {
    const RULE: &str = "must be a time such as 2026-01-31T08:00:00Z, \"2026-01-31 08:00\" in local time, or 13 digits of Unix \
                        milliseconds";
    // As every time in the table: fewer or more digits would be another unit.
    if text.len() == 13 && text.bytes().all(|digit| digit.is_ascii_digit()) && !text.starts_with('0') {
        return text.parse().map(UnixMillis).map_err(|_| RULE.to_owned());
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(UnixMillis(instant.as_millisecond()));
    }
    // A date alone would silently mean midnight.
    if !text.contains(':') {
        return Err(RULE.to_owned());
    }
    let local = text.parse::<jiff::civil::DateTime>().map_err(|_| RULE.to_owned())?;
    let zone =
        zone.ok_or("has no offset, and the local time zone is not known: see TZ and /etc/localtime")?;
    // Twice a year a local time does not exist, or exists twice: better asked than guessed.
    let instant = zone
        .to_ambiguous_zoned(local)
        .unambiguous()
        .map_err(|_| "does not exist, or exists twice, in local time: give it with its offset".to_owned())?;
    Ok(UnixMillis(instant.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(texts: &[&str]) -> Vec<Argument> {
        texts.iter().map(|text| argument(text).unwrap()).collect()
    }

    #[test]
    fn an_argument_is_a_string_unless_it_says_json() {
        let all = single(&[
            "a=1",
            "b:=1",
            "c=",
            "d=x=y",
            "e:=[1, {\"x\": null}]",
            "f:g=h",
            "i:=1.00000000000000000001",
        ]);
        let text = arguments(None, &all).unwrap().unwrap();
        let expected =
            r#"{"a":"1","b":1,"c":"","d":"x=y","e":[1, {"x": null}],"f:g":"h","i":1.00000000000000000001}"#;
        assert_eq!(text, expected);
        for bad in ["a", "=1", ":=1", "a:=x", "a:=", "a:=1 2"] {
            assert!(argument(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn single_arguments_are_added_to_a_whole_object() {
        let add = |whole: &str| arguments(Some(whole), &single(&["k=v"])).map(Option::unwrap);
        assert_eq!(add("{}").unwrap(), r#"{"k":"v"}"#);
        assert_eq!(add(" { } ").unwrap().replace(' ', ""), r#"{"k":"v"}"#);
        assert_eq!(add(r#"{"a": {"b": {}}}"#).unwrap(), r#"{"a": {"b": {}},"k":"v"}"#);
        for whole in ["[]", "", "{", r#"{"k": 1}"#] {
            assert_eq!(add(whole).unwrap_err().code, USAGE, "{whole}");
        }
        let twice = arguments(None, &single(&["k=v", "k:=1"]));
        assert_eq!(twice.unwrap_err().lines, ["the argument k is given twice"]);
    }

    #[test]
    fn a_whole_text_alone_is_left_to_the_schema() {
        assert_eq!(arguments(Some("[1]\n"), &[]).unwrap().unwrap(), "[1]");
        assert_eq!(arguments(None, &[]).unwrap(), None);
    }

    #[test]
    fn a_time_has_a_zone_or_is_local() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let utc = |text: &str| instant_in(text, Some(&zone)).map(|at| at.0);
        assert_eq!(utc("2026-01-31T08:00:00Z"), Ok(1_769_846_400_000));
        assert_eq!(utc("2026-01-31T08:00:00+01:00"), Ok(1_769_842_800_000));
        for local in ["2026-01-31 08:00", "2026-01-31T08:00", "2026-01-31 08:00:00"] {
            assert_eq!(utc(local), Ok(1_769_842_800_000), "{local}");
        }
        assert!(utc("2026-03-29 02:30").unwrap_err().starts_with("does not exist"));
        assert!(utc("2026-10-25 02:30").unwrap_err().starts_with("does not exist, or exists twice"));
        assert_eq!(utc("2026-10-25T02:30:00+01:00"), Ok(1_792_891_800_000));
        assert!(instant_in("2026-01-31 08:00", None).unwrap_err().contains("time zone is not known"));
        assert!(instant_in("2026-01-31T08:00:00Z", None).is_ok());
        assert_eq!(utc("1769846400000"), Ok(1_769_846_400_000));
        for bad in [
            "",
            "tomorrow",
            "2026-01-31",
            "08:00",
            "1769846400",
            "0176984640000",
            "17698464000000",
            "+769846400000",
            "2026-02-30 08:00",
        ] {
            assert!(utc(bad).is_err(), "{bad}");
        }
    }
}
