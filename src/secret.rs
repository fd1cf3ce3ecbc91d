//! Secrets: values that never print, and where they are read from.
//!
//! A leaf. `config` makes the references, `client` reads them. Reading is blocking, but of one small local file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Where a secret is read from; the configuration never holds the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `{ env = "NAME" }`: an environment variable.
    Env(String),
    /// `{ file = "/PATH" }`: a file.
    File(PathBuf),
    /// `{ credential = "NAME" }`: a file of systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// One `[credentials.NAME]` of the configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `kind = "bearer"`: a fixed token.
    Bearer {
        /// Where the token is.
        token: Reference,
    },
}

/// Why a secret cannot be had. Names the reference, never the value.
#[derive(Debug, thiserror::Error)]
#[error("{reference}: {fault}")]
pub struct Error {
    reference: Reference,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("not set")]
    Unset,
    #[error("empty")]
    Empty,
    #[error("not text in UTF-8")]
    NotText,
    #[error("holds spaces, line breaks or other characters that cannot go into a header")]
    NotAToken,
    #[error("its name may have 1 to 64 letters, digits, dots, dashes and underscores")]
    Name,
    #[error("$CREDENTIALS_DIRECTORY is not set: is this a service with LoadCredential?")]
    NoDirectory,
    #[error("not an absolute path")]
    Relative,
    #[error("not a regular file (symbolic links are not followed)")]
    NotAFile,
    #[error("its mode {0:o} lets every user read or write it")]
    Exposed(u32),
    #[error("longer than {LONGEST} bytes")]
    TooLong,
    #[error("{0}")]
    Io(#[source] io::Error),
}

/// What a secret may measure; also keeps a reference to the wrong file from filling the memory.
const LONGEST: u64 = 64 * 1024;

impl Credential {
    /// The bearer token, fit for a header.
    ///
    /// # Errors
    /// When the secret cannot be read, or is no token.
    pub fn token(&self) -> Result<SecretString, Error> {
        let Self::Bearer { token } = self;
        let secret = token.read()?;
        if secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(secret)
        } else {
            Err(token.fault(Fault::NotAToken))
        }
    }
}

impl Reference {
    /// Reads the secret: not empty, without the line break at its end.
    ///
    /// # Errors
    /// When it is missing, or kept in a way that no secret should be.
    pub fn read(&self) -> Result<SecretString, Error> {
        self.read_with(|name| std::env::var_os(name))
    }

    fn read_with(&self, environment: impl Fn(&str) -> Option<OsString>) -> Result<SecretString, Error> {
        let text = match self {
            Self::Env(name) => match environment(name) {
                Some(value) => value.into_string().map_err(|_| Fault::NotText),
                None => Err(Fault::Unset),
            },
            Self::File(path) => read_file(path),
            Self::Credential(name) if !is_plain(name) => Err(Fault::Name),
            Self::Credential(name) => match environment("CREDENTIALS_DIRECTORY") {
                Some(directory) => read_file(&Path::new(&directory).join(name)),
                None => Err(Fault::NoDirectory),
            },
        };
        match text {
            Ok(text) if text.is_empty() => Err(self.fault(Fault::Empty)),
            Ok(text) => Ok(text.into()),
            Err(fault) => Err(self.fault(fault)),
        }
    }

    fn fault(&self, fault: Fault) -> Error {
        Error { reference: self.clone(), fault }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(name) => write!(f, "systemd credential {name}"),
        }
    }
}

/// Whether `name` stays within its directory.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && name != "."
        && name != ".."
}

fn read_file(path: &Path) -> Result<String, Fault> {
    if !path.is_absolute() {
        return Err(Fault::Relative);
    }
    // Looked at before it is opened, since opening a pipe would wait for its writer; and again once it is open, since
    // it may have been replaced in between.
    let named = fs::symlink_metadata(path).map_err(Fault::Io)?;
    if !named.is_file() {
        return Err(Fault::NotAFile);
    }
    let file = File::open(path).map_err(Fault::Io)?;
    let opened = file.metadata().map_err(Fault::Io)?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(Fault::NotAFile);
    }
    let mode = opened.mode() & 0o7777;
    if mode & 0o006 != 0 {
        return Err(Fault::Exposed(mode));
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Fault::NotText,
        _ => Fault::Io(error),
    })?;
    if text.len() as u64 > LONGEST {
        return Err(Fault::TooLong);
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const CANARY: &str = "c4n4ry";

    fn keep(folder: &Path, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn why(reference: &Reference) -> String {
        let error = reference.read().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains(CANARY), "{text}");
        error.to_string()
    }

    #[test]
    fn a_private_file_is_read_without_the_line_break_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, text) in [(0o600, "abc\n"), (0o640, "abc\r\n"), (0o400, "abc")] {
            let path = keep(folder.path(), &format!("s{mode}"), text.as_bytes(), mode);
            assert_eq!(Reference::File(path).read().unwrap().expose_secret(), "abc");
        }
    }

    #[test]
    fn a_file_that_is_no_place_for_a_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let good = keep(folder.path(), "good", CANARY.as_bytes(), 0o600);
        let link = folder.path().join("link");
        symlink(&good, &link).unwrap();
        for (path, rule) in [
            (keep(folder.path(), "open", CANARY.as_bytes(), 0o644), "644"),
            (keep(folder.path(), "long", &[b'x'; 64 * 1024 + 1], 0o600), "longer than 65536"),
            (keep(folder.path(), "binary", b"c4n4ry\xff", 0o600), "UTF-8"),
            (keep(folder.path(), "empty", b"\n", 0o600), "empty"),
            (link, "regular file"),
            (folder.path().to_owned(), "regular file"),
            (folder.path().join("absent"), "No such file"),
            (PathBuf::from("good"), "absolute"),
        ] {
            let text = why(&Reference::File(path.clone()));
            assert!(text.contains(rule) && text.contains(&*path.to_string_lossy()), "{text}");
        }
    }

    #[test]
    fn an_environment_variable_must_be_set_and_not_empty() {
        let reference = Reference::Env("TOKEN".to_owned());
        let read = |value: Option<&str>| reference.read_with(|_| value.map(OsString::from));
        assert_eq!(read(Some("abc")).unwrap().expose_secret(), "abc");
        assert_eq!(read(None).unwrap_err().to_string(), "environment variable TOKEN: not set");
        assert_eq!(read(Some("")).unwrap_err().to_string(), "environment variable TOKEN: empty");
    }

    #[test]
    fn a_systemd_credential_never_leaves_its_directory() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "token", b"abc", 0o400);
        let read = |name: &str| {
            Reference::Credential(name.to_owned()).read_with(|variable| {
                assert_eq!(variable, "CREDENTIALS_DIRECTORY");
                Some(folder.path().into())
            })
        };
        assert_eq!(read("token").unwrap().expose_secret(), "abc");
        for name in ["..", ".", "", "../token", "a/b", "/etc/passwd", &"x".repeat(65)] {
            assert!(read(name).unwrap_err().to_string().contains("1 to 64"), "{name}");
        }
        let unset = Reference::Credential("token".to_owned()).read_with(|_| None);
        assert!(unset.unwrap_err().to_string().contains("CREDENTIALS_DIRECTORY"));
    }

    #[test]
    fn a_token_is_visible_ascii() {
        let folder = tempfile::tempdir().unwrap();
        for (text, good) in [("abc-._~+/=", true), ("a b", false), ("a\nb", false), ("ä", false)] {
            let path = keep(folder.path(), "token", text.as_bytes(), 0o600);
            let token = Credential::Bearer { token: Reference::File(path) }.token();
            assert_eq!(token.is_ok(), good, "{text:?}");
        }
    }
}
