//! Passwords are kept as Argon2id hashes. Hashing takes memory and time on purpose, and is done by few at once, so that
//! many who sign in together make one another wait instead of filling the pod.

use std::sync::{Arc, LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use tokio::sync::Semaphore;
use tracing::error;

use crate::error::ApiError;

const MIN_CHARS: usize = 8;
/// No more than a person would type: what is longer only costs.
const MAX_CHARS: usize = 200;
const AT_ONCE: usize = 2;

/// Of no password. Checked when there is no such user, so that the time doesn't tell.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hash("nobody's password").ok());

pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    pub async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.work(move || hash(&password)).await
    }

    /// `hash` is the user's, if there is such a user.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, ApiError> {
        self.work(move || {
            let is_known = hash.is_some();
            let hash = hash.or_else(|| NOBODY.clone()).unwrap_or_default();
            Ok(Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok() && is_known)
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        // The turn goes along: work that nobody waits for any more is still work.
        let turn = self.turns.clone().acquire_owned().await.expect("nothing closes it");
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        match done.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(err)) => {
                error!("a password can't be hashed: {err}");
                Err(ApiError::Internal)
            }
            Err(_) => Err(ApiError::Internal),
        }
    }
}

pub fn check(password: &str) -> Result<(), ApiError> {
    let chars = password.chars().count();
    if !(MIN_CHARS..=MAX_CHARS).contains(&chars) {
        return Err(ApiError::Invalid(format!("password is not {MIN_CHARS} to {MAX_CHARS} characters long")));
    }
    Ok(())
}

fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash("right password".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$") && !hash.contains("right"), "{hash}");
        assert_ne!(hash, passwords.hash("right password".to_owned()).await.unwrap(), "salted");
        for (password, hash, wanted) in [
            ("right password", Some(hash.clone()), true),
            ("wrong password", Some(hash), false),
            ("right password", Some("no hash".to_owned()), false),
            ("nobody's password", None, false),
        ] {
            assert_eq!(passwords.verify(password.to_owned(), hash).await.unwrap(), wanted, "{password}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(check("12345678").is_ok() && check(&"ä".repeat(200)).is_ok());
        assert!(check("1234567").is_err() && check(&"x".repeat(201)).is_err());
    }
}
