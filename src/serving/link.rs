//! Status and output URIs: `/t/status/<token>?sig=<signature>`.
//!
//! A token names a job and the how manieth link of it this is. Nothing is kept for it: the signature says that it is
//! ours, and that it was made for this leg.

use std::fmt;

use aws_lc_rs::hmac;

use super::Leg;

/// What a link names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The job.
    pub job: u128,
    /// Counts the links of a leg of that job.
    pub serial: u32,
}

/// Makes links and knows its own again.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl Signer {
    /// Whoever has the secret can make links.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Path and query, below what stands before `/t/`.
    #[must_use]
    pub fn target(&self, leg: Leg, token: Token) -> String {
        let named = named(leg, &token.to_string());
        let signature = hmac::sign(&self.0, named.as_bytes());
        format!("/t/{named}?sig={}", Hex(signature.as_ref()))
    }

    /// What the link names, if it is one of ours: `token` is the last segment of its path.
    #[must_use]
    pub fn read(&self, leg: Leg, token: &str, query: Option<&str>) -> Option<Token> {
        let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let signature = from_hex(&pairs.find(|(name, _)| name == "sig")?.1)?;
        hmac::verify(&self.0, named(leg, token).as_bytes(), &signature).ok()?;
        let (job, serial) = (token.get(..32)?, token.get(32..)?);
        Some(Token {
            job: u128::from_str_radix(job, 16).ok()?,
            serial: u32::from_str_radix(serial, 16).ok()?,
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:08x}", self.job, self.serial)
    }
}

/// What is signed: a link to the output is none to the status.
fn named(leg: Leg, token: &str) -> String {
    format!("{}/{token}", leg.as_str())
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    Some(digits?.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { job: 0x1234_5678_9abc_def0_1234_5678_9abc_def0, serial: 7 };

    /// Token and query of a target.
    fn split(target: &str) -> (&str, &str) {
        target.rsplit('/').next().unwrap().split_once('?').unwrap()
    }

    #[test]
    fn a_link_is_known_again_and_the_next_one_is_another() {
        let signer = Signer::new(&[1; 32]);
        for leg in [Leg::Status, Leg::Output] {
            let target = signer.target(leg, TOKEN);
            assert!(target.starts_with(&format!("/t/{}/", leg.as_str())), "{target}");
            let (token, query) = split(&target);
            assert_eq!(signer.read(leg, token, Some(query)), Some(TOKEN));
            assert_ne!(signer.target(leg, Token { serial: 8, ..TOKEN }), target);
        }
    }

    #[test]
    fn whatever_is_changed_in_a_link_makes_it_a_stranger() {
        let signer = Signer::new(&[1; 32]);
        let target = signer.target(Leg::Status, TOKEN);
        let (token, query) = split(&target);
        assert_eq!(Signer::new(&[2; 32]).read(Leg::Status, token, Some(query)), None, "another server's");
        assert_eq!(signer.read(Leg::Output, token, Some(query)), None, "another leg");
        for other in [None, Some(""), Some("sig="), Some("sig=zz"), Some(&query[..20]), Some("x=1&sig")] {
            assert_eq!(signer.read(Leg::Status, token, other), None, "{other:?}");
        }
        for at in 0..token.len() {
            let mut changed = token.to_owned();
            changed.replace_range(at..=at, if &token[at..=at] == "5" { "6" } else { "5" });
            assert_eq!(signer.read(Leg::Status, &changed, Some(query)), None, "{changed}");
        }
        for other in ["", "+", "ü", &token.to_uppercase(), &token[1..]] {
            assert_eq!(signer.read(Leg::Status, other, Some(query)), None, "{other}");
        }
        assert!(!format!("{signer:?}").contains('1'));
    }
}
