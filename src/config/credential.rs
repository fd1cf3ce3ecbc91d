//! `[credentials.NAME]`: what kind, and where its secret is. The secret itself is never here, and no value of this
//! section ever gets into a message: whoever writes the secret in the wrong place shall not find it in the journal.

use std::path::PathBuf;

use config::{Value, ValueKind};

use super::section::{Section, text};
use crate::secret::{Credential, Reference};

pub(super) fn read(mut section: Section<'_>) -> Option<Credential> {
    match section.require("kind", |kind| text(kind).map(str::to_owned))?.as_str() {
        "bearer" => {
            let token = section.require("token", reference);
            section.finish();
            token.map(|token| Credential::Bearer { token })
        }
        _ => {
            section.problem("kind", "is not supported by this version, which knows only bearer");
            // The keys of another kind are not ours to judge.
            section.ignore();
            None
        }
    }
}

/// `{ env = "N" }`, `{ file = "PATH" }` or `{ credential = "N" }`.
pub(crate) fn reference(value: &Value) -> Result<Reference, String> {
    const RULE: &str = "must be one reference, { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }, \
                        and never the secret itself";
    let ValueKind::Table(table) = &value.kind else { return Err(RULE.to_owned()) };
    let mut entries = table.iter();
    let (Some((kind, place)), None) = (entries.next(), entries.next()) else { return Err(RULE.to_owned()) };
    let ValueKind::String(place) = &place.kind else { return Err(RULE.to_owned()) };
    match kind.as_str() {
        "env" if is_variable(place) => Ok(Reference::Env(place.clone())),
        "env" => Err("env must be the name of a variable, made of A to Z, a to z, 0 to 9 and _".to_owned()),
        "file" if place.starts_with('/') && !place.contains('\0') => {
            Ok(Reference::File(PathBuf::from(place)))
        }
        "file" => Err("file must be an absolute path".to_owned()),
        "credential" if is_credential(place) => Ok(Reference::Credential(place.clone())),
        "credential" => {
            Err("credential must be a plain name: 1 to 64 of A to Z, a to z, 0 to 9, _, . and -".to_owned())
        }
        _ => Err(RULE.to_owned()),
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// It becomes a file name below `$CREDENTIALS_DIRECTORY`, and must not leave it.
fn is_credential(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
