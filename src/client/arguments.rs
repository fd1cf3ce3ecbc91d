//! The arguments of a request, as a body and as a query. Keeps what the producer wrote: no number is rounded, no
//! name reordered.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use url::Url;

use crate::request::CallMode;

/// The name under which the call mode travels.
const CALL_MODE: &str = "$callMode";

/// The object `arguments` as a body, with the call mode as one more argument.
pub(super) fn body(arguments: &str, call_mode: Option<CallMode>) -> Bytes {
    let Some((mode, members)) = call_mode.zip(members(arguments)) else {
        return Bytes::copy_from_slice(arguments.as_bytes());
    };
    let comma = if members.starts_with('}') { "" } else { "," };
    Bytes::from(format!(r#"{{"{CALL_MODE}":"{mode}"{comma}{members}"#))
}

/// What follows the opening brace of an object.
fn members(object: &str) -> Option<&str> {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    Some(object.trim_start_matches(SPACE).strip_prefix('{')?.trim_start_matches(SPACE))
}

/// `url` with the object `arguments` in its query: texts as they are, nulls left out, all else as JSON.
///
/// # Errors
/// When a text cannot be written in a URL: JSON knows halves of characters.
pub(super) fn query(
    url: &Url,
    arguments: &str,
    call_mode: Option<CallMode>,
) -> Result<Url, serde_json::Error> {
    let Members(members) = serde_json::from_str(arguments)?;
    let mut url = url.clone();
    if members.is_empty() && call_mode.is_none() {
        return Ok(url);
    }
    {
        let mut query = url.query_pairs_mut();
        for (name, value) in members {
            match value.get() {
                "null" => {}
                text if text.starts_with('"') => {
                    query.append_pair(&name, &serde_json::from_str::<String>(text)?);
                }
                json => {
                    query.append_pair(&name, json);
                }
            }
        }
        if let Some(mode) = call_mode {
            query.append_pair(CALL_MODE, mode.as_str());
        }
    }
    if url.query() == Some("") {
        url.set_query(None);
    }
    Ok(url)
}

/// The members of an object, in order, values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: Option<CallMode> = Some(CallMode::LongPolling);

    #[test]
    fn the_call_mode_is_spliced_in_and_nothing_else_is_touched() {
        for (arguments, expected) in [
            ("{}", r#"{"$callMode":"LongPolling"}"#),
            (" {\n } ", r#"{"$callMode":"LongPolling"} "#),
            ("\t{ \"a\" : 1.00, \"a\":1e400}", r#"{"$callMode":"LongPolling","a" : 1.00, "a":1e400}"#),
            (
                r#"{"ä":"\ud83d\ude00 }{","n":{"x":[]}}"#,
                r#"{"$callMode":"LongPolling","ä":"\ud83d\ude00 }{","n":{"x":[]}}"#,
            ),
        ] {
            let spliced = body(arguments, MODE);
            assert_eq!(spliced, expected);
            assert!(serde_json::from_slice::<&RawValue>(&spliced).is_ok());
            assert_eq!(body(arguments, None), arguments, "without it, not a byte changes");
        }
    }

    #[test]
    fn a_query_holds_texts_as_they_are_and_all_else_as_json() {
        let url = Url::parse("http://far.example/start?code=s&x=%20").unwrap();
        let arguments =
            r#"{"t":"a b&c=ä","n":12345678901234567890.10,"b":true,"z":null,"o":{"k":[1, 2]},"e":""}"#;
        let full = query(&url, arguments, MODE).unwrap();
        let pairs: Vec<_> = full.query_pairs().into_owned().collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("code", "s"),
                ("x", " "),
                ("t", "a b&c=ä"),
                ("n", "12345678901234567890.10"),
                ("b", "true"),
                ("o", r#"{"k":[1, 2]}"#),
                ("e", ""),
                ("$callMode", "LongPolling"),
            ]
        );
        assert!(full.as_str().starts_with("http://far.example/start?code=s&x=%20&"), "{full}");
    }

    #[test]
    fn a_query_without_arguments_is_the_trigger_s_own() {
        let url = Url::parse("http://far.example/start").unwrap();
        for arguments in ["{}", " {} ", r#"{"a":null}"#] {
            assert_eq!(query(&url, arguments, None).unwrap(), url, "{arguments}");
        }
    }

    #[test]
    fn half_a_character_fits_in_no_query() {
        let url = Url::parse("http://far.example/").unwrap();
        assert!(query(&url, r#"{"a":"\ud800"}"#, None).is_err());
        assert!(query(&url, "[]", None).is_err());
    }
}
