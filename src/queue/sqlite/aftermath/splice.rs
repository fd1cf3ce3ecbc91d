//! JSON as it was written: a value taken out of a text, or put into one, while every other byte stays. Parsed and written anew,
//! 1e400 would be no number, and a name that is there twice would be there once.

use std::borrow::Cow;

use serde::de::{Deserialize, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The text of a JSON value, without what stands around it; none if it is none. Some servers begin theirs with a byte order mark,
/// though none belongs there.
pub(super) fn value(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

/// What a JSON pointer (RFC 6901) leads to. Of a name that is there twice, the last, as parsers have it.
pub(super) fn find<'t>(value: &'t str, pointer: &str) -> Option<&'t str> {
    if pointer.is_empty() {
        return Some(value);
    }
    let mut at = value;
    for token in pointer.strip_prefix('/')?.split('/') {
        let token = token.replace("~1", "/").replace("~0", "~");
        at = match at.as_bytes().first()? {
            b'{' => members(at)?.into_iter().rev().find(|(name, _)| *name == token)?.1,
            b'[' => {
                let is_index = token == "0" || !token.starts_with(['0', '+']);
                let index: usize = token.parse().ok().filter(|_| is_index)?;
                serde_json::from_str::<Elements<'_>>(at).ok()?.0.get(index).copied()?
            }
            _ => return None,
        };
    }
    Some(at)
}

/// An object with `value` as its member `name`: in the place of the one that is there, else behind all others. None if `object` is
/// no JSON object.
pub(super) fn set(object: &str, name: &str, value: &str) -> Option<String> {
    let members = members(object)?;
    let mut text = String::with_capacity(object.len() + name.len() + value.len() + 8);
    let mut copied = 0;
    for (_, old) in members.iter().filter(|(there, _)| there == name) {
        let start = offset(object, old);
        text.push_str(&object[copied..start]);
        text.push_str(value);
        copied = start + old.len();
    }
    if copied == 0 {
        let end = object.rfind('}')?;
        text.push_str(&object[..end]);
        if !members.is_empty() {
            text.push(',');
        }
        text.push_str(&string(name));
        text.push(':');
        text.push_str(value);
        copied = end;
    }
    text.push_str(&object[copied..]);
    Some(text)
}

/// A text as a JSON string.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where `part`, which is a piece of `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

/// The members of an object, in their order; none if it is none.
fn members(object: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    serde_json::from_str::<Members<'_>>(object).ok().map(|members| members.0)
}

/// A name, with its escapes undone.
#[derive(serde::Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

struct Members<'t>(Vec<(Cow<'t, str>, &'t str)>);
struct Elements<'t>(Vec<&'t str>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: serde::Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'t> Visitor<'t> for Each {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'t>, &'t RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

impl<'t> Deserialize<'t> for Elements<'t> {
    fn deserialize<D: serde::Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'t> Visitor<'t> for Each {
            type Value = Elements<'t>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'t>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(value) = list.next_element::<&'t RawValue>()? {
                    elements.push(value.get());
                }
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_seq(Each)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_member_is_put_in_and_the_rest_stays_as_it_was_written() {
        for (object, expected) in [
            ("{}", r#"{"a":1e400}"#),
            (" {\n} ", " {\n\"a\":1e400} "),
            (r#"{"b": 1.00, "b": 2}"#, r#"{"b": 1.00, "b": 2,"a":1e400}"#),
            (r#"{"z":1, "a" : {"a": 2} , "b":3}"#, r#"{"z":1, "a" : 1e400 , "b":3}"#),
            (r#"{"\u0061":"}","c":"{"}"#, r#"{"\u0061":1e400,"c":"{"}"#),
            (r#"{"a":0,"b":1,"a":2}"#, r#"{"a":1e400,"b":1,"a":1e400}"#),
        ] {
            assert_eq!(set(object, "a", "1e400").as_deref(), Some(expected), "{object}");
        }
        assert_eq!(set("{}", "a\"\u{1}", "null").unwrap(), r#"{"a\"\u0001":null}"#);
        for none in ["", "[]", "{", "{} {}", "1", "null"] {
            assert_eq!(set(none, "a", "1"), None, "{none}");
        }
    }

    #[test]
    fn a_value_is_found_as_it_was_written() {
        let text = r#"{"a/b": [1.00, {"m~n": 1e400}], "": "x", "d": 1, "d": 2, "0": true}"#;
        for (pointer, found) in [
            ("", Some(text)),
            ("/a~1b/0", Some("1.00")),
            ("/a~1b/1/m~0n", Some("1e400")),
            ("/", Some(r#""x""#)),
            ("/d", Some("2")),
            ("/0", Some("true")),
            ("/a~1b/00", None),
            ("/a~1b/+1", None),
            ("/a~1b/-", None),
            ("/a~1b/2", None),
            ("/d/0", None),
            ("/none", None),
            ("d", None),
        ] {
            assert_eq!(find(text, pointer), found, "{pointer}");
        }
    }

    #[test]
    fn a_text_is_json_or_it_is_not() {
        assert_eq!(value(" [1] \n"), Some("[1]"));
        assert_eq!(value("\u{feff}true"), Some("true"));
        for none in ["", " ", "x", "{", "1 2", "nul"] {
            assert_eq!(value(none), None, "{none}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("[a~/0-2\"]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_a_pointer_finds_is_what_serde_json_finds(whole in json(), pointer in "(/([a~0-2\"]|~0|~1){0,2}){0,3}", pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) };
            let text = text.unwrap();
            let found = find(&text, &pointer).map(|text| serde_json::from_str::<Value>(text).unwrap());
            prop_assert_eq!(found.as_ref(), whole.pointer(&pointer));
        }

        #[test]
        fn what_is_put_in_is_there_and_nothing_else_has_changed(
            whole in proptest::collection::btree_map(".{0,3}", json(), 0..4), name in ".{0,3}", member in json(), pretty: bool,
        ) {
            let mut object = Value::Object(whole.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
            let text = set(&text.unwrap(), &name, &member.to_string()).unwrap();
            object[name.as_str()] = member;
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), object);
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,20}", pointer in ".{0,8}") {
            let _ = (value(&text), find(&text, &pointer), set(&text, "a", "1"));
        }
    }
}
