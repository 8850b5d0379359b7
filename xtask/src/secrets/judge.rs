//! What values must look like, by the names of their keys; no message repeats a value.

use crate::secrets::placeholder::is_placeholder;

/// The shortest key that is long enough to sign with HMAC-SHA256.
const SECRET_MIN_CHARS: usize = 32;

/// What is wrong with a value of a Secret. An optional key of a person's may be empty.
pub fn judge_secret(key: &str, value: &str, may_be_empty: bool) -> Result<(), String> {
    if value.is_empty() {
        return if may_be_empty { Ok(()) } else { Err("is empty".to_string()) };
    }
    if is_placeholder(value) {
        return Err("is a placeholder".to_string());
    }
    match () {
        _ if key == "DATABASE_URL" => {
            judge_url(value, &["postgres", "postgresql"])?;
            let named = value.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
            match named.is_some_and(|(_, database)| !database.is_empty() && !database.starts_with('?')) {
                true => Ok(()),
                false => Err("names no database".to_string()),
            }
        }
        _ if key.ends_with("_URL") => judge_url(value, &["http", "https"]),
        _ if key.ends_with("_SECRET") || key.ends_with("PASSWORD") => match value.chars().count() {
            count if count < SECRET_MIN_CHARS => Err(format!("has fewer than {SECRET_MIN_CHARS} characters")),
            // Of a file that was read with its last line's end, for instance.
            _ if value != value.trim() || value.contains(char::is_control) => {
                Err("has blanks around it, or more than one line".to_string())
            }
            _ => Ok(()),
        },
        _ if value.contains(char::is_whitespace) => Err("has blanks in it".to_string()),
        _ => Ok(()),
    }
}

/// What is wrong with a value of a ConfigMap that the services read.
pub fn judge_setting(key: &str, value: &str) -> Result<(), String> {
    let one_of = |known: &[&str]| match known.contains(&value) {
        true => Ok(()),
        false => Err(format!("is \"{value}\": allowed are {}", known.join(", "))),
    };
    let number = |range: std::ops::RangeInclusive<u64>| match value.parse::<u64>() {
        Ok(number) if range.contains(&number) => Ok(()),
        _ => Err(format!("is \"{value}\": it must be a number from {} to {}", range.start(), range.end())),
    };
    let describe = |error: String| format!("is \"{value}\": it {error}");
    match key {
        "LOG_LEVEL" => one_of(&["trace", "debug", "info", "warn", "error"]),
        "NODE_ENV" | "PYTHON_ENV" => one_of(&["production", "development", "test"]),
        "PORT" => number(1..=65535),
        "JWT_EXPIRATION_DAYS" => number(1..=365),
        "JWT_ALGORITHM" => one_of(&["HS256", "HS384", "HS512"]),
        "AUTH_MODE" => one_of(&["none", "hs256", "jwks"]),
        "LLM_PROVIDER" => one_of(&["", "openai", "groq", "none"]),
        "HOST" => match value.parse::<std::net::IpAddr>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("is \"{value}\": it must be an address to listen on, such as 0.0.0.0")),
        },
        "BETTER_AUTH_JWKS_URL" => judge_url(value, &["http"]).map_err(describe),
        "CORS_ORIGINS" if value.is_empty() => Ok(()),
        "CORS_ORIGINS" => {
            value.split(',').try_for_each(|origin| judge_url(origin.trim(), &["http", "https"]).map_err(describe))
        }
        "FRONTEND_ORIGIN" | "BETTER_AUTH_ISSUER" => judge_url(value, &["http", "https"]).map_err(describe),
        _ if key.ends_with("_URL") => judge_url(value, &["http", "https"]).map_err(describe),
        _ => Ok(()),
    }
}

/// `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/…]`; the message says nothing of the value.
pub fn judge_url(value: &str, schemes: &[&str]) -> Result<(), String> {
    let Some((scheme, rest)) = value.split_once("://") else { return Err("is not a URL".to_string()) };
    if !schemes.contains(&scheme) {
        return Err(format!(
            "must begin with {}",
            schemes.iter().map(|word| format!("{word}://")).collect::<Vec<_>>().join(" or ")
        ));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '[' | ']' | ':');
    if name.is_empty() || !name.chars().all(plain) || value.contains(char::is_whitespace) {
        return Err("is a URL without a sound host".to_string());
    }
    match port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        true => Ok(()),
        false => Err("is a URL with a port that is none".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_judged_by_their_keys_and_not_repeated() {
        for (key, value) in [
            ("DATABASE_URL", "postgres://todo:9f3a@postgres:5432/todo"),
            ("DATABASE_URL", "postgresql://u:p@neon-host/dbname?sslmode=require"),
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef"),
            ("BETTER_AUTH_URL", "http://todo-chatbot-frontend"),
            ("OPENAI_API_KEY", "sk-live"),
        ] {
            assert_eq!(judge_secret(key, value, false), Ok(()), "{key}");
        }
        for (key, value) in [
            ("DATABASE_URL", "mysql://sentinel"),
            ("DATABASE_URL", "sentinel"),
            ("DATABASE_URL", "postgres://u:sentinel@:5432/x"),
            ("DATABASE_URL", "postgres://u:sentinel@host:0/x"),
            ("JWT_SECRET", "sentinel"),
            ("JWT_SECRET", "CHANGE_ME_sentinel"),
            ("JWT_SECRET", "sentinel-0123456789abcdef0123456789abcdef\n"),
            ("GROQ_API_KEY", "sentinel sentinel"),
            ("JWT_SECRET", ""),
        ] {
            assert!(!judge_secret(key, value, false).unwrap_err().contains("sentinel"), "{key}");
        }
        assert_eq!(judge_secret("OPENAI_API_KEY", "", true), Ok(()));
    }

    #[test]
    fn settings_are_those_that_the_services_take() {
        for (key, value) in [
            ("LOG_LEVEL", "info"),
            ("BACKEND_URL", "http://todo-chatbot-backend:8000"),
            ("CORS_ORIGINS", "http://localhost:3000, http://localhost"),
            ("CORS_ORIGINS", ""),
            ("LLM_PROVIDER", ""),
            ("HOST", "0.0.0.0"),
            ("ANY", "thing"),
        ] {
            assert_eq!(judge_setting(key, value), Ok(()), "{key}");
        }
        for (key, value) in [
            ("LOG_LEVEL", "loud"),
            ("BACKEND_URL", "todo:8000"),
            ("PORT", "0"),
            ("HOST", "here"),
            ("CORS_ORIGINS", "a,b"),
            ("JWT_ALGORITHM", "RS256"),
        ] {
            assert!(judge_setting(key, value).is_err(), "{key}");
        }
    }
}
