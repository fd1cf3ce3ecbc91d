//! JSON as values of the configuration, and back: what may be written in a file may also come in a message.

use config::{Value, ValueKind};

/// A JSON value as one that a [`Section`](super::section::Section) reads.
pub(crate) fn to_value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => ValueKind::Nil,
        serde_json::Value::Bool(yes) => ValueKind::Boolean(*yes),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => ValueKind::I64(number),
            (None, Some(number)) => ValueKind::U64(number),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => ValueKind::String(text.clone()),
        serde_json::Value::Array(values) => ValueKind::Array(values.iter().map(to_value).collect()),
        serde_json::Value::Object(members) => {
            ValueKind::Table(members.iter().map(|(name, value)| (name.clone(), to_value(value))).collect())
        }
    };
    Value::new(None, kind)
}

/// The way back. What JSON has no word for (infinity) is null.
pub(crate) fn from_value(value: &Value) -> serde_json::Value {
    match &value.kind {
        ValueKind::Nil => serde_json::Value::Null,
        ValueKind::Boolean(yes) => (*yes).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::I128(number) => number.to_string().into(),
        ValueKind::U128(number) => number.to_string().into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::String(text) => text.clone().into(),
        ValueKind::Array(values) => values.iter().map(from_value).collect(),
        ValueKind::Table(table) => serde_json::Value::Object(
            table.iter().map(|(name, value)| (name.clone(), from_value(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_value_comes_back_as_it_was() {
        for json in [
            json!(null),
            json!({"a": [1, -2, 18_446_744_073_709_551_615_u64, 1.5, true, "x", {}], "B": {"c": null}}),
        ] {
            assert_eq!(from_value(&to_value(&json)), json);
        }
    }
}
