//! The command line of a test target without the usual harness: `cargo test` passes on what is meant for all of them.

use std::collections::BTreeMap;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Run, with these numbers in place of the usual ones.
    Run(BTreeMap<String, u64>),
    /// Only say what there is to run.
    List,
    /// Nothing here is asked for.
    Nothing,
}

/// Options of the usual harness that are followed by a value.
const WITH_VALUE: [&str; 7] =
    ["--test-threads", "--skip", "--logfile", "--color", "--format", "--shuffle-seed", "-Z"];

/// Reads the command line, without the program's name. As with the usual harness, `cargo test WORD` runs what has this word in
/// its name. `options` are the program's own; each takes a number.
///
/// # Errors
/// What is wrong with a number.
pub(crate) fn read(
    target: &str,
    options: &[&str],
    arguments: impl IntoIterator<Item = String>,
) -> Result<Wish, String> {
    let mut numbers = BTreeMap::new();
    let (mut words, mut skipped, mut list, mut exact, mut ignored) =
        (Vec::new(), Vec::new(), false, false, false);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with('-') => (name.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let is_ours = options.contains(&name.as_str());
        let takes_value = is_ours || WITH_VALUE.contains(&name.as_str());
        let value = if takes_value { value.or_else(|| arguments.next()) } else { value };
        match name.as_str() {
            _ if is_ours => {
                let number = value.as_deref().unwrap_or_default().parse();
                let number = number.map_err(|_| format!("{name} needs a number"))?;
                numbers.insert(name, number);
            }
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
    let matches = |word: &String| if exact { word == target } else { target.contains(word.as_str()) };
    let meant = words.is_empty() || words.iter().any(matches);
    Ok(match () {
        () if ignored || !meant || skipped.iter().any(matches) => Wish::Nothing,
        () if list => Wish::List,
        () => Wish::Run(numbers),
    })
}
