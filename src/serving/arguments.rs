//! The arguments of a call: a JSON object in the body, or the query of a GET.

use serde_json::{Map, Value};

use super::errors::Refusal;
use crate::request::CallMode;

/// The argument that names the call mode, and is none of the job's.
const CALL_MODE: &str = "$callMode";

/// What a call brings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    /// The mode it asks for; else the trigger's holds.
    pub call_mode: Option<CallMode>,
    /// The rest, by name.
    pub named: Map<String, Value>,
}

/// Reads them. The query of anything but a GET is not looked at, and a GET has no body.
///
/// # Errors
/// What the vendor's gateway refuses: no body, a body that is no JSON object, a GET that announces JSON.
pub fn read(
    is_get: bool,
    content_type: Option<&str>,
    query: Option<&str>,
    body: &[u8],
) -> Result<Arguments, Refusal> {
    let mut named = if is_get {
        if content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("json")) {
            return Err(Refusal::bad_arguments(
                "A GET has its arguments in the query and must not have a Content-Type of JSON",
            ));
        }
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
    } else if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::bad_arguments("The request body is empty; without arguments it must be {}"));
    } else {
        match serde_json::from_slice(body) {
            Ok(Value::Object(named)) => named,
            Ok(_) => return Err(Refusal::bad_arguments("The request body must be one JSON object")),
            Err(error) => {
                return Err(Refusal::bad_arguments(format!("The request body is not JSON: {error}")));
            }
        }
    };
    let call_mode = match named.remove(CALL_MODE) {
        None => None,
        Some(Value::String(text)) => {
            Some(text.parse().map_err(|error| Refusal::bad_arguments(format!("{CALL_MODE}: {error}")))?)
        }
        Some(_) => return Err(Refusal::bad_arguments(format!("{CALL_MODE} must be a string"))),
    };
    Ok(Arguments { call_mode, named })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JSON: Option<&str> = Some("application/json");

    fn named(arguments: Arguments) -> Value {
        Value::Object(arguments.named)
    }

    #[test]
    fn a_body_is_one_object_and_its_call_mode_is_none_of_its_arguments() {
        let body = br#" {"a": 1, "$callMode": "LongPolling", "b": {"c": [null]}} "#;
        let read = read(false, JSON, Some("d=2&$callMode=x"), body).unwrap();
        assert_eq!(read.call_mode, Some(CallMode::LongPolling));
        assert_eq!(named(read), json!({"a": 1, "b": {"c": [null]}}));
        assert_eq!(super::read(false, None, None, b"{}").unwrap(), Arguments::default());
    }

    #[test]
    fn a_query_is_arguments_also_when_its_dollar_is_escaped() {
        for query in ["a=b+c&$callMode=FireAndForget", "%24callMode=FireAndForget&a=b%20c"] {
            let read = read(true, Some("text/plain"), Some(query), b"").unwrap();
            assert_eq!(read.call_mode, Some(CallMode::FireAndForget), "{query}");
            assert_eq!(named(read), json!({"a": "b c"}), "{query}");
        }
        assert_eq!(read(true, None, None, b"").unwrap(), Arguments::default());
    }

    #[test]
    fn what_the_gateway_refuses_is_a_400_with_its_number() {
        for (is_get, kind, query, body) in [
            (false, JSON, None, &b""[..]),
            (false, JSON, Some("a=1"), b" \n"),
            (false, JSON, None, b"{"),
            (false, JSON, None, b"[]"),
            (false, JSON, None, b"null"),
            (false, JSON, None, b"\xff"),
            (false, JSON, None, br#"{"$callMode": null}"#),
            (false, JSON, None, br#"{"$callMode": "longpolling"}"#),
            (true, JSON, None, b""),
            (true, Some("Application/JSON; charset=utf-8"), Some("a=1"), b""),
            (true, None, Some("$callMode="), b""),
        ] {
            let refusal = read(is_get, kind, query, body).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (400, 4804), "{query:?} {body:?}");
        }
    }
}
