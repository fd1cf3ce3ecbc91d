//! `on_end` of a trigger: what the end of its requests fires. Hooks that lead back to where they began would fire for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::{Map, Value, ValueKind};

use super::section::{Problems, list, one_of, text};
use crate::trigger::{ENDS, Hook, Trigger};

/// One table, or a list of them.
pub(super) fn read(value: &Value) -> Result<Vec<Hook>, String> {
    let hooks = match &value.kind {
        ValueKind::Table(table) => vec![hook(table)?],
        ValueKind::Array(values) => {
            let each = |value: &Value| match &value.kind {
                ValueKind::Table(table) => hook(table),
                _ => Err(SHAPE.to_owned()),
            };
            let numbered = values.iter().enumerate();
            let hooks =
                numbered.map(|(n, value)| each(value).map_err(|rule| format!("number {}: {rule}", n + 1)));
            hooks.collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(SHAPE.to_owned()),
    };
    if hooks.is_empty() {
        return Err("must not be empty: leave it out instead".to_owned());
    }
    let mut seen = BTreeSet::new();
    for hook in &hooks {
        for state in &hook.states {
            if !seen.insert((&hook.trigger, state)) {
                return Err(format!("fires {} twice for {state}", hook.trigger));
            }
        }
    }
    Ok(hooks)
}

const SHAPE: &str =
    "must be a table such as { trigger = \"NAME\", states = [\"failed\"] }, or a list of them";

fn hook(table: &Map<String, Value>) -> Result<Hook, String> {
    if let Some(unknown) = table.keys().filter(|key| !["trigger", "states"].contains(&key.as_str())).min() {
        return Err(format!("unknown key {unknown} (known here: trigger, states)"));
    }
    let get = |key: &str| table.get(key).ok_or_else(|| format!("{key} is missing"));
    let trigger = text(get("trigger")?).map_err(|rule| format!("trigger {rule}"))?.to_owned();
    let choices = ENDS.map(|state| (state, state));
    let one = one_of(&choices);
    let states = list(get("states")?).map_err(|rule| format!("states {rule}"))?;
    let states: Vec<_> =
        states.iter().map(&one).collect::<Result<_, _>>().map_err(|rule| format!("each of states {rule}"))?;
    if states.is_empty() {
        return Err("states must not be empty".to_owned());
    }
    Ok(Hook { trigger, states })
}

/// Each hook fires a trigger of the configuration, and none leads back to its own. `names`: of all triggers, also of those that
/// are not sound.
pub(super) fn check(
    triggers: &BTreeMap<String, Arc<Trigger>>,
    names: &BTreeSet<String>,
    problems: &Problems,
) {
    for (name, trigger) in triggers {
        let key = format!("triggers.{name}.on_end");
        let strangers = trigger.on_end.iter().filter(|hook| !names.contains(&hook.trigger));
        for stranger in strangers {
            problems.add(None, &key, &format!("there is no [triggers.{}]", stranger.trigger));
        }
        // Told once, at the first of those that are in the circle.
        if let Some(circle) =
            circle(triggers, name).filter(|circle| circle.iter().min() == Some(&name.as_str()))
        {
            let path = circle.join(" -> ");
            problems.add(
                None,
                &key,
                &format!("leads back to where it began, and would fire for ever: {path} -> {name}"),
            );
        }
    }
}

/// The shortest way of hooks from `name` back to it.
fn circle<'t>(triggers: &'t BTreeMap<String, Arc<Trigger>>, name: &'t str) -> Option<Vec<&'t str>> {
    let targets = |name: &str| triggers.get(name).into_iter().flat_map(|trigger| &trigger.on_end);
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = vec![name];
    while !next.is_empty() {
        let mut further = Vec::new();
        for from in next {
            for hook in targets(from) {
                let target = hook.trigger.as_str();
                if target == name {
                    let mut circle = vec![from];
                    while *circle.last().expect("it has its end") != name {
                        circle.push(came_from[circle.last().expect("it has its end")]);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if let std::collections::btree_map::Entry::Vacant(place) = came_from.entry(target) {
                    place.insert(from);
                    further.push(target);
                }
            }
        }
        next = further;
    }
    None
}
