//! StringMap that hold a secret: what gives one away, and never the secret itself.

use xtask::secrets::placeholder::is_placeholder;

/// A line of a text, from 1 on, and what in it looks like a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    pub line: usize,
    pub what: String,
}

/// Beginnings of keys that services hand out, and the fewest letters and digits that follow.
const TOKENS: [(&str, usize); 8] = [
    ("sk-", 20),
    ("gsk_", 20),
    ("ghp_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("AKIA", 16),
    ("xoxb-", 20),
    ("npg_", 12),
];

/// Looks for private keys, tokens, URLs with passwords, and values of `keys` that are no placeholders.
pub fn find(text: &str, keys: &[&str]) -> Vec<Leak> {
    let mut found = Vec::new();
    // Most files of an image have nothing of the kind, and going through their lines takes seconds.
    let marks = TOKENS.iter().map(|(start, _)| *start).chain(["PRIVATE KEY", "://"]).chain(keys.iter().copied());
    if !marks.into_iter().any(|mark| text.contains(mark)) {
        return found;
    }
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let next = lines.peek().map_or("", |(_, next)| next);
        let what = private_key(line, next)
            .or_else(|| token(line))
            .or_else(|| password(line))
            .or_else(|| keys.iter().find_map(|key| value_of(line, key)));
        found.extend(what.map(|what| Leak { line: index + 1, what }));
    }
    found
}

/// A file that holds secrets by its name alone.
pub fn is_secret_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let known = [".env", ".pgpass", ".netrc", ".git-credentials", "id_rsa", "id_ed25519", "id_ecdsa", "kubeconfig"];
    let sample = ["example", "sample", "template", "dist"];
    known.contains(&name)
        || name.strip_prefix(".env.").is_some_and(|rest| !sample.contains(&rest))
        || path.ends_with(".docker/config.json")
        || path.ends_with(".aws/credentials")
        || path.ends_with(".kube/config")
}

/// The heading alone stands in every program that reads such keys.
fn private_key(line: &str, next: &str) -> Option<String> {
    let heading = line.trim().starts_with("-----BEGIN ") && line.trim().ends_with("PRIVATE KEY-----");
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    (heading && next.trim().len() >= 40 && next.trim().bytes().all(base64)).then(|| "a private key".to_string())
}

fn token(line: &str) -> Option<String> {
    TOKENS.iter().find_map(|(start, length)| {
        let (before, rest) = line.split_once(start)?;
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let apart = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let body = &rest[..rest.find(|c| !inner(c)).unwrap_or(rest.len())];
        (apart && body.len() >= *length && is_random(body)).then(|| format!("a token that begins with {start}"))
    })
}

/// `SCHEME://USER:PASSWORD@HOST` with a password that nobody made up for a sample.
fn password(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("://")?;
    let authority = &rest[..rest.find(['/', ' ', '"', '\'', '`', ')', '>']).unwrap_or(rest.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (password.len() >= 10 && is_random(password)).then(|| "a URL with a password".to_string())
}

/// `KEY: VALUE`, `KEY=VALUE`, `"KEY": "VALUE"`.
fn value_of(line: &str, key: &str) -> Option<String> {
    let (before, rest) = line.split_once(key)?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if before.ends_with(word) || rest.starts_with(word) {
        return None;
    }
    let rest = rest.trim_start_matches(['"', '\'']).trim_start();
    let value = rest.strip_prefix('=').or_else(|| rest.strip_prefix(": "))?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let value = &value[..value.find(['"', '\'', ' ', ',', ';']).unwrap_or(value.len())];
    (value.len() >= 16 && is_random(value)).then(|| format!("a value of {key}"))
}

/// Whether a text looks like made by chance: of letters and digits, and of many different ones.
fn is_random(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '=' | '.' | '!' | '%');
    let distinct: std::collections::BTreeSet<char> = text.chars().collect();
    text.chars().all(plain)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && distinct.len() * 2 >= text.len().min(16)
        && !is_placeholder(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaks(text: &str) -> Vec<String> {
        find(text, &["DATABASE_URL", "JWT_SECRET"])
            .into_iter()
            .map(|leak| format!("{} {}", leak.line, leak.what))
            .collect()
    }

    #[test]
    fn what_is_secret_is_found_and_not_repeated() {
        // Put together here, as a scanner would stumble over them in this file too.
        let body = "a8F3kQ9zLm2Xw7Rt5Yb1Nc6V";
        for (text, message) in [
            (format!("x\nkey: sk-{body}"), "2 a token that begins with sk-"),
            (format!("postgresql://todo:{body}@host/db"), "1 a URL with a password"),
            (format!("  JWT_SECRET: \"{body}\""), "1 a value of JWT_SECRET"),
            (format!("JWT_SECRET={body}"), "1 a value of JWT_SECRET"),
            (format!("-----BEGIN RSA PRIVATE KEY-----\n{body}{body}"), "1 a private key"),
        ] {
            assert_eq!(leaks(&text), [message]);
            assert!(!leaks(&text).join("").contains(body));
        }
    }

    #[test]
    fn templates_samples_and_names_are_no_secrets() {
        for text in [
            "DATABASE_URL = \"postgres://todo:{POSTGRES_PASSWORD}@postgres:5432/todo\"",
            "DATABASE_URL: \"postgresql://user:password@neon-host/dbname\"",
            "OPENAI_API_KEY: \"sk-...\"",
            "JWT_SECRET: CHANGE_ME_CHANGE_ME_1",
            "random = [\"JWT_SECRET\", \"BETTER_AUTH_SECRET\"]",
            "JWT_SECRET: null",
            "task-management-and-other-things-1",
            "-----BEGIN PRIVATE KEY-----\n\"",
            "MY_JWT_SECRET_NAME=a8F3kQ9zLm2Xw7Rt5Yb1Nc6V",
        ] {
            assert_eq!(leaks(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn some_files_are_secret_by_name() {
        for path in ["app/.env", ".env.local", "root/.ssh/id_rsa", "root/.docker/config.json"] {
            assert!(is_secret_file(path), "{path}");
        }
        for path in ["app/env", ".env.example", "id_rsa.pub", "config.json"] {
            assert!(!is_secret_file(path), "{path}");
        }
    }
}
