//! What `cargo test` passes on, and what is meant for this program.

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Kill.
    Run {
        /// So often.
        kills: u32,
        /// Where chance begins; none: anywhere.
        seed: Option<u64>,
    },
    /// Only say what there is to run.
    List,
    /// Nothing here is asked for.
    Nothing,
}

/// As a harness would call it: `cargo test WORD` runs the tests that have this word in their names.
pub(crate) const NAME: &str = "killing";
/// So many as every change must pass.
const KILLS: u32 = 50;
/// Options of the usual harness that are followed by a value.
const WITH_VALUE: [&str; 7] =
    ["--test-threads", "--skip", "--logfile", "--color", "--format", "--shuffle-seed", "-Z"];

/// Reads the command line, without the program's name.
///
/// # Errors
/// What is wrong with a number.
pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Result<Wish, String> {
    let (mut kills, mut seed) = (KILLS, None);
    let (mut words, mut skipped, mut list, mut exact, mut ignored) =
        (Vec::new(), Vec::new(), false, false, false);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with('-') => (name.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let takes_value = name == "--kills" || name == "--seed" || WITH_VALUE.contains(&name.as_str());
        let value = if takes_value { value.or_else(|| arguments.next()) } else { value };
        let number = || {
            let text = value.as_deref().unwrap_or_default();
            text.parse::<u64>().map_err(|_| format!("{name} needs a number"))
        };
        match name.as_str() {
            "--kills" => kills = u32::try_from(number()?).map_err(|e| e.to_string())?,
            "--seed" => seed = Some(number()?),
            "--skip" => skipped.extend(value),
            "--list" => list = true,
            "--exact" => exact = true,
            // There are none of these.
            "--ignored" => ignored = true,
            // It is none of our business how the other tests are run.
            _ if name.starts_with('-') => {}
            _ => words.push(name),
        }
    }
    let matches = |word: &String| if exact { word == NAME } else { NAME.contains(word.as_str()) };
    let meant = words.is_empty() || words.iter().any(matches);
    Ok(match () {
        () if ignored || !meant || skipped.iter().any(matches) => Wish::Nothing,
        () if list => Wish::List,
        () => Wish::Run { kills, seed },
    })
}
