//! Tokens: who may do what with which database, until when; JSON Web Tokens signed by HMAC-SHA-256 (RFC 7515, 7519).
//!
//! The command line makes them, the Worker checks them. Whoever has the key can make any.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::json::{Document, FromJson, Json};

/// What a token lets its bearer do; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Restore and follow.
    Read,
    /// Ship.
    Write,
    /// Look at all databases, and repair one.
    Admin,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The database's name, or `*` for all.
    #[serde(rename = "db")]
    pub database: String,
    /// What may be done with it.
    pub scope: Scope,
    /// Until when, in Unix seconds.
    #[serde(rename = "exp")]
    pub expires: u64,
}

/// The secret behind tokens.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// A key must have as many bytes as its signatures (RFC 7518, 3.2).
pub const MIN_KEY_LEN: usize = 32;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not signed by a key of ours, or no token at all.
    #[error("it is not known here")]
    Unknown,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// The first part of every token of ours.
const HEAD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

impl Key {
    /// A key of these bytes, if they are enough.
    pub fn new(secret: &[u8]) -> Option<Self> {
        let mac = Hmac::new_from_slice(secret).ok()?;
        (secret.len() >= MIN_KEY_LEN).then_some(Self(mac))
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        self.0.clone().chain_update(text).finalize().into_bytes().to_vec()
    }

    /// In a time that does not tell how wrong a signature is.
    fn signed(&self, text: &str, signature: &[u8]) -> bool {
        self.0.clone().chain_update(text).verify_slice(signature).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Claims {
    /// As a token that says so.
    pub fn sign(&self, key: &Key) -> Result<String, serde_json::Error> {
        let claims = serde_json::to_string(self)?;
        let text = format!("{}.{}", BASE64.encode(HEAD), BASE64.encode(claims));
        let signature = BASE64.encode(key.sign(&text));
        Ok(format!("{text}.{signature}"))
    }

    /// What a token says, if one of the keys signed it and it is not over at `now`, in Unix seconds.
    pub fn verify(token: &str, keys: &[Key], now: u64) -> Result<Self, Refused> {
        let (text, signature) = token.rsplit_once('.').ok_or(Refused::Unknown)?;
        let signature = BASE64.decode(signature).map_err(|_| Refused::Unknown)?;
        // All keys are tried: time must not tell which one it was.
        let signed = keys
            .iter()
            .fold(false, |signed, key| key.signed(text, &signature) | signed);
        let claims = Self::read(text).filter(|_| signed).ok_or(Refused::Unknown)?;
        if claims.expires <= now {
            return Err(Refused::Expired);
        }
        Ok(claims)
    }

    /// Whether it is about this database.
    pub fn covers(&self, database: &str) -> bool {
        self.database == "*" || self.database == database
    }

    fn read(text: &str) -> Option<Self> {
        let (head, claims) = text.split_once('.')?;
        let (head, claims) = (BASE64.decode(head).ok()?, BASE64.decode(claims).ok()?);
        let (head, claims) = (Document::parse(&head)?, Document::parse(&claims)?);
        let head = head.root();
        // Under `crit` are extensions that must be understood: none is.
        if head.field("alg")?.text()? != "HS256" || !head.field("crit")?.is_null() {
            return None;
        }
        Self::from_json(claims.root())
    }
}

impl FromJson for Claims {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            database: json.get("db")?,
            scope: json.get("scope")?,
            expires: json.get("exp")?,
        })
    }
}

impl FromJson for Scope {
    fn from_json(json: Json<'_>) -> Option<Self> {
        match &*json.text()? {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; MIN_KEY_LEN]).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            database: "app".to_owned(),
            scope: Scope::Write,
            expires: 1000,
        }
    }

    /// Made by another implementation: Python's `hmac` and `base64`.
    #[test]
    fn is_a_json_web_token() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJkYiI6ImFwcCIsInNjb3BlIjoid3JpdGUiLCJleHAiOjEwMDB9.\
                     lWIpUSXzVTaWxKfNoyhMEsfn6CVWpp1J28XCsjdq4ZQ";
        assert_eq!(claims().sign(&key(b'k')).unwrap(), token);
        assert_eq!(Claims::verify(token, &[key(b'k')], 999), Ok(claims()));
    }

    #[test]
    fn either_of_two_keys_will_do_and_no_third() {
        for byte in [1, 2] {
            let token = claims().sign(&key(byte)).unwrap();
            assert_eq!(Claims::verify(&token, &[key(1), key(2)], 0), Ok(claims()));
            assert_eq!(Claims::verify(&token, &[key(3)], 0), Err(Refused::Unknown));
            assert_eq!(Claims::verify(&token, &[], 0), Err(Refused::Unknown));
            assert_eq!(Claims::verify(&token, &[key(byte)], 1000), Err(Refused::Expired));
        }
        assert!(Key::new(&[1; MIN_KEY_LEN - 1]).is_none());
    }

    #[test]
    fn every_bit_of_it_counts() {
        let token = claims().sign(&key(1)).unwrap();
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                assert_eq!(
                    Claims::verify(&changed, &[key(1)], 0),
                    Err(Refused::Unknown),
                    "{changed}"
                );
            }
        }
        for length in 0..token.len() {
            assert_eq!(
                Claims::verify(&token[..length], &[key(1)], 0),
                Err(Refused::Unknown)
            );
        }
    }

    #[test]
    fn other_algorithms_are_refused_even_if_signed() {
        for head in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"hs256"}"#,
            "{}",
            r#"{"alg":"HS256","crit":["b64"]}"#,
            r#"{"alg":"HS256","cri\u0074":["b64"]}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"alg":"HS256"},"#,
            r#"{"alg":"HS256","x":[}"#,
            r#"["HS256"]"#,
            "",
        ] {
            let body = serde_json::to_string(&claims()).unwrap();
            let text = format!("{}.{}", BASE64.encode(head), BASE64.encode(body));
            let signed = format!("{text}.{}", BASE64.encode(key(1).sign(&text)));
            assert_eq!(
                Claims::verify(&signed, &[key(1)], 0),
                Err(Refused::Unknown),
                "{head}"
            );
            assert_eq!(
                Claims::verify(&format!("{text}."), &[key(1)], 0),
                Err(Refused::Unknown)
            );
        }
    }
}
