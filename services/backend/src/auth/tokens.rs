//! The tokens that stand for a session: how they are signed, and by which keys they are checked.

use axum::http::Uri;
use hkdf::Hkdf;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::OffsetDateTime;
use tracing::error;

use super::jwks::Published;
use crate::{config::Secret, error::ApiError};

/// What a key in PKCS #8 has before its 32 bytes (RFC 8410).
const ED25519_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Tells this use of the secret from others.
const KEY_PURPOSE: &[u8] = b"todo-chatbot: the key that signs tokens, 1";

pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    checking: Checking,
    validation: Validation,
    issuer: Option<String>,
}

enum Checking {
    Shared(DecodingKey),
    Published { own: Box<Jwk>, all: Box<Published> },
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The session.
    pub jti: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

impl Tokens {
    pub fn shared(secret: &Secret, algorithm: Algorithm, issuer: &Option<String>) -> Self {
        let secret = secret.reveal().as_bytes();
        let checking = Checking::Shared(DecodingKey::from_secret(secret));
        Self::new(Header::new(algorithm), EncodingKey::from_secret(secret), checking, issuer)
    }

    /// Signs with a key of its own, and checks with whatever is published at `url`: both are the same when it is we who
    /// publish there.
    pub fn published(secret: &Secret, url: &Uri, issuer: &Option<String>) -> Self {
        let mut der = [0; 48];
        let (prefix, seed) = der.split_at_mut(ED25519_PREFIX.len());
        prefix.copy_from_slice(&ED25519_PREFIX);
        Hkdf::<Sha256>::new(None, secret.reveal().as_bytes()).expand(KEY_PURPOSE, seed).expect("32 bytes can be had");
        let signing = EncodingKey::from_ed_der(&der);
        let mut own = Jwk::from_encoding_key(&signing, Algorithm::EdDSA).expect("the key is valid");
        let id = own.thumbprint(ThumbprintHash::SHA256).expect("the key is valid");
        own.common.key_id = Some(id.clone());
        own.common.key_algorithm = Some(KeyAlgorithm::EdDSA);
        own.common.public_key_use = Some(PublicKeyUse::Signature);
        let header = Header { kid: Some(id), ..Header::new(Algorithm::EdDSA) };
        let checking = Checking::Published { own: Box::new(own), all: Box::new(Published::new(url.clone())) };
        Self::new(header, signing, checking, issuer)
    }

    fn new(header: Header, signing: EncodingKey, checking: Checking, issuer: &Option<String>) -> Self {
        // The one algorithm, whatever a token says of itself.
        let mut validation = Validation::new(header.alg);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.set_required_spec_claims(&["exp", "sub", "iss"]);
        }
        Self { header, signing, checking, validation, issuer: issuer.clone() }
    }

    pub fn sign(
        &self,
        user_id: String,
        session_id: String,
        now: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> Result<String, ApiError> {
        let claims = Claims {
            sub: user_id,
            jti: session_id,
            iat: now.unix_timestamp(),
            exp: expires_at.unix_timestamp(),
            iss: self.issuer.clone(),
        };
        encode(&self.header, &claims, &self.signing).map_err(|err| {
            error!("a token can't be signed: {err}");
            ApiError::Internal
        })
    }

    pub async fn verify(&self, token: &str) -> Result<Claims, ApiError> {
        const WRONG: ApiError = ApiError::Unauthorized("the token is not valid; sign in again");
        let checked = match &self.checking {
            Checking::Shared(key) => decode(token, key, &self.validation),
            Checking::Published { all, .. } => {
                let header = decode_header(token).map_err(|_| WRONG)?;
                if header.alg != self.header.alg {
                    return Err(WRONG);
                }
                let key = all.key(header.kid.as_deref().ok_or(WRONG)?).await?;
                decode(token, &key, &self.validation)
            }
        };
        checked.map(|token| token.claims).map_err(|err| match err.kind() {
            ErrorKind::ExpiredSignature => ApiError::Unauthorized("the token is too old; sign in again"),
            _ => WRONG,
        })
    }

    pub fn published_keys(&self) -> JwkSet {
        match &self.checking {
            Checking::Shared(_) => JwkSet { keys: Vec::new() },
            Checking::Published { own, .. } => JwkSet { keys: vec![(**own).clone()] },
        }
    }
}
