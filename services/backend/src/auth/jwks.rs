//! The keys that somebody publishes. They are kept, and asked for again when a token names one that is not among them.

use std::{
    collections::HashMap,
    sync::RwLock,
    time::{Duration, Instant},
};

use axum::http::{StatusCode, Uri};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, JwkSet},
};
use kit::client::{self, Client};
use tokio::sync::Mutex;
use tracing::warn;

use crate::error::ApiError;

const TIMEOUT_MS: u64 = 3_000;
/// A key that is withdrawn is of use for as long as this.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Tokens with made-up keys must not become as many requests to the publisher.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 32;

type Keys = HashMap<String, DecodingKey>;

pub struct Published {
    url: Uri,
    client: Client,
    kept: RwLock<Kept>,
    /// When it was last asked; held while it is being asked, so that one asks for all.
    asked: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Kept {
    keys: Keys,
    since: Option<Instant>,
    /// Whether the last time that it was asked there was no answer.
    failed: bool,
}

impl Published {
    pub fn new(url: Uri) -> Self {
        Self { url, client: client::client(), kept: RwLock::default(), asked: Mutex::default() }
    }

    pub async fn key(&self, id: &str) -> Result<DecodingKey, ApiError> {
        if let Some(key) = self.fresh(id) {
            return Ok(key);
        }
        let mut asked = self.asked.lock().await;
        if let Some(key) = self.fresh(id) {
            return Ok(key);
        }
        if asked.is_none_or(|at| at.elapsed() >= PAUSE) {
            let answer = self.ask().await;
            *asked = Some(Instant::now());
            let mut kept = self.kept.write().expect("no panic while it is held");
            kept.failed = answer.is_err();
            match answer {
                Ok(keys) => (kept.keys, kept.since) = (keys, Some(Instant::now())),
                Err(reason) => warn!(url = %self.url, "the keys of tokens can't be read: {reason}"),
            }
        }
        drop(asked);
        let kept = self.kept.read().expect("no panic while it is held");
        match kept.keys.get(id) {
            // What was good a while ago is better than no answer while the publisher is away.
            Some(key) => Ok(key.clone()),
            None if kept.failed => Err(ApiError::Upstream(
                StatusCode::SERVICE_UNAVAILABLE,
                "keys_unavailable",
                "the keys of tokens can't be read now; try again in a moment".to_owned(),
            )),
            None => Err(ApiError::Unauthorized("the token is signed with a key that is not known; sign in again")),
        }
    }

    fn fresh(&self, id: &str) -> Option<DecodingKey> {
        let kept = self.kept.read().expect("no panic while it is held");
        kept.since.filter(|since| since.elapsed() < MAX_AGE).and_then(|_| kept.keys.get(id).cloned())
    }

    async fn ask(&self) -> Result<Keys, String> {
        let answer = client::get(&self.client, self.url.clone(), TIMEOUT_MS).await?;
        if !answer.status.is_success() {
            return Err(format!("the answer is {}", answer.status));
        }
        if answer.body.len() > MAX_BYTES {
            return Err(format!("the answer has {} bytes", answer.body.len()));
        }
        parse(&answer.body)
    }
}

/// Only keys of the one algorithm that tokens are checked with; others may be there for others.
fn parse(body: &[u8]) -> Result<Keys, String> {
    let set: JwkSet = serde_json::from_slice(body).map_err(|err| format!("the answer is not a key set: {err}"))?;
    let ours = set.keys.iter().filter(
        |key| matches!(&key.algorithm, AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519),
    );
    let keys = ours.filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(key).ok()?)));
    Ok(keys.take(MAX_KEYS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ed25519_keys_with_a_name_are_taken() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set = format!(
            r#"{{"keys": [
                {{"kty": "OKP", "crv": "Ed25519", "x": "{x}", "kid": "good"}},
                {{"kty": "OKP", "crv": "Ed25519", "x": "{x}"}},
                {{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}},
                {{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "rsa"}}
            ]}}"#
        );
        let keys = parse(set.as_bytes()).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["good"]);
        assert!(parse(b"{}").is_err() && parse(b"<html>").is_err());
    }
}
