//! Text and binaries that hold a secret: what gives one away, and never the secret itself.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};

use xtask::secrets::placeholder::is_placeholder;

/// What looks like a secret, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    pub at: At,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Of a text, from 1 on.
    Line(usize),
    /// Of a binary, from 0 on.
    Byte(u64),
}

impl Leak {
    /// Whether it is no secret, as everybody has this file.
    pub fn is_published(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        PUBLISHED.iter().any(|(start, what)| name.starts_with(start) && self.what == *what)
    }

    /// `FILE:LINE: WHAT`, for a binary `FILE at byte N: WHAT`.
    pub fn of_file(&self, path: &str) -> String {
        match self.at {
            At::Line(line) => format!("{path}:{line}: {}", self.what),
            At::Byte(byte) => format!("{path} at byte {byte}: {}", self.what),
        }
    }
}

/// The characters of a token behind its beginning.
#[derive(Clone, Copy)]
enum Of {
    /// Capital letters and digits.
    Upper,
    Hex,
    Alnum,
    /// Letters, digits, `-` and `_`.
    Word,
    /// The same and `.`.
    Dotted,
}

/// A token as a service hands it out.
struct Shape {
    start: &'static str,
    of: Of,
    /// The fewest characters that follow, and the most.
    least: usize,
    most: usize,
}

const fn shape(start: &'static str, of: Of, least: usize) -> Shape {
    Shape { start, of, least, most: usize::MAX }
}

const fn exact(start: &'static str, of: Of, length: usize) -> Shape {
    Shape { start, of, least: length, most: length }
}

/// Current tokens. Of two that begin alike, the longer beginning is looked at.
const SHAPES: [Shape; 52] = [
    shape("sk-", Of::Alnum, 20),
    shape("sk-proj-", Of::Word, 20),
    shape("sk-svcacct-", Of::Word, 20),
    shape("sk-admin-", Of::Word, 20),
    shape("sk-ant-", Of::Word, 20),
    shape("sk-or-v1-", Of::Hex, 40),
    shape("gsk_", Of::Alnum, 20),
    shape("xai-", Of::Alnum, 60),
    shape("pplx-", Of::Alnum, 40),
    shape("r8_", Of::Alnum, 37),
    shape("hf_", Of::Alnum, 30),
    shape("AIza", Of::Word, 35),
    shape("ya29.", Of::Word, 60),
    shape("GOCSPX-", Of::Word, 24),
    exact("AKIA", Of::Upper, 16),
    exact("ASIA", Of::Upper, 16),
    shape("ghp_", Of::Alnum, 30),
    shape("gho_", Of::Alnum, 30),
    shape("ghu_", Of::Alnum, 30),
    shape("ghs_", Of::Dotted, 30),
    shape("ghr_", Of::Alnum, 30),
    shape("github_pat_", Of::Word, 30),
    shape("glpat-", Of::Dotted, 20),
    shape("gldt-", Of::Word, 20),
    shape("glrt-", Of::Dotted, 20),
    shape("glptt-", Of::Word, 20),
    shape("xoxb-", Of::Word, 20),
    shape("xoxp-", Of::Word, 20),
    shape("xoxa-", Of::Word, 20),
    shape("xoxe.", Of::Dotted, 20),
    shape("xapp-", Of::Word, 20),
    shape("npm_", Of::Alnum, 36),
    shape("pypi-", Of::Word, 60),
    shape("cio", Of::Alnum, 32),
    shape("dckr_pat_", Of::Word, 27),
    shape("dckr_oat_", Of::Word, 27),
    shape("dop_v1_", Of::Hex, 64),
    shape("doo_v1_", Of::Hex, 64),
    shape("sk_live_", Of::Alnum, 20),
    shape("rk_live_", Of::Alnum, 20),
    shape("whsec_", Of::Alnum, 30),
    shape("SG.", Of::Dotted, 60),
    shape("shpat_", Of::Hex, 32),
    shape("shpss_", Of::Hex, 32),
    shape("npg_", Of::Alnum, 12),
    shape("hvs.", Of::Word, 24),
    shape("tskey-", Of::Word, 20),
    shape("lin_api_", Of::Alnum, 40),
    shape("sntrys_", Of::Word, 60),
    shape("ATATT3x", Of::Word, 100),
    shape("AGE-SECRET-KEY-1", Of::Upper, 58),
    shape("AGE-SECRET-KEY-PQ-1", Of::Upper, 58),
];

/// What looks like a secret and is published: the file's name begins with this, and this was found in it.
const PUBLISHED: [(&str, &str); 1] = [
    // The keys of the self-test of GnuTLS.
    ("libgnutls.so.", "a private key"),
];

/// What can be in front of a mark and belong to it, and what behind.
const BEHIND: usize = 64;
const AHEAD: usize = 8 << 10;
/// How much is looked through at once.
const CHUNK: usize = 256 << 10;
/// More than these of one file help nobody.
const MAX_LEAKS: usize = 100;

const PRIVATE_KEY: &str = "PRIVATE KEY";
const URL: &str = "://";
/// The beginning of a JSON object in base64.
const JWT: &str = "eyJ";
/// The signature of the sample token in the documentation of JSON Web Tokens.
const SAMPLE_JWT: &str = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

/// What is looked for: tokens, JSON Web Tokens, private keys, URLs with passwords, and values of `keys`.
pub struct Search<'k> {
    marks: AhoCorasick,
    keys: Vec<&'k str>,
}

impl<'k> Search<'k> {
    pub fn new(keys: &[&'k str]) -> Search<'k> {
        // In this order `judge` finds them again.
        let marks = [PRIVATE_KEY, URL, JWT].into_iter().chain(keys.iter().copied());
        let marks = marks.chain(SHAPES.iter().map(|shape| shape.start));
        // Each mark is a short constant or the name of a key.
        let marks = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(marks);
        Search { marks: marks.expect("some fifty short patterns fit"), keys: keys.to_vec() }
    }

    /// Looks through a text.
    pub fn find(&self, text: &str) -> Vec<Leak> {
        let mut stream = self.stream();
        stream.feed(text.as_bytes());
        stream.end()
    }

    /// Looks through a file of any size, text or not, that is fed in pieces.
    pub fn stream(&self) -> Stream<'_> {
        Stream { search: self, window: Vec::new(), cut: 0, lines: 0, searched: 0, is_text: None, found: Vec::new() }
    }

    /// What the mark at `start..end` of a window gives away, if anything.
    fn judge(&self, pattern: usize, window: &[u8], start: usize, end: usize, is_text: bool) -> Option<String> {
        let before = &window[start.saturating_sub(BEHIND)..start];
        let after = &window[end..window.len().min(end + AHEAD)];
        let line = printable(after);
        match pattern {
            0 => private_key(before, after),
            1 => password(line),
            2 => json_web_token(before, line, is_text),
            index => match self.keys.get(index - 3) {
                Some(key) => value_of(before, line, key),
                None => token(&SHAPES[index - 3 - self.keys.len()], before, line, is_text),
            },
        }
    }
}

/// A file that is looked through in pieces; a part of it is in memory.
pub struct Stream<'s> {
    search: &'s Search<'s>,
    window: Vec<u8>,
    /// How many bytes, and how many lines of them, were in front of the window.
    cut: u64,
    lines: usize,
    /// Marks that begin before this place of the window were looked at.
    searched: usize,
    is_text: Option<bool>,
    found: Vec<Leak>,
}

impl Stream<'_> {
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(CHUNK) {
            self.window.extend_from_slice(piece);
            if self.window.len() >= CHUNK {
                self.look(self.window.len() - AHEAD);
            }
        }
    }

    pub fn end(mut self) -> Vec<Leak> {
        self.look(self.window.len());
        self.found
    }

    /// Looks at the marks that begin before `limit`, and lets go of what no later one needs.
    fn look(&mut self, limit: usize) {
        // A zero byte shows what is no text.
        let is_text = *self.is_text.get_or_insert_with(|| !self.window.contains(&0));
        let (mut line, mut counted) = (self.lines + 1, 0);
        for hit in self.search.marks.find_iter(&self.window[self.searched..]) {
            let (start, end) = (self.searched + hit.start(), self.searched + hit.end());
            if start >= limit || self.found.len() >= MAX_LEAKS {
                break;
            }
            let Some(what) = self.search.judge(hit.pattern().as_usize(), &self.window, start, end, is_text) else {
                continue;
            };
            line += newlines(&self.window[counted..start]);
            counted = start;
            let at = if is_text { At::Line(line) } else { At::Byte(self.cut + start as u64) };
            // One reason for a line is enough.
            if self.found.last().is_none_or(|last| last.at != at) {
                self.found.push(Leak { at, what });
            }
        }
        let keep_from = limit.saturating_sub(BEHIND);
        self.lines += if is_text { newlines(&self.window[..keep_from]) } else { 0 };
        self.cut += keep_from as u64;
        self.window.drain(..keep_from);
        self.searched = limit - keep_from;
    }
}

fn newlines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
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

/// The bytes up to the end of the line, or to what no string of a program has.
fn printable(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| !matches!(byte, b' '..=b'~' | b'\t')).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

impl Of {
    fn has(self, byte: u8) -> bool {
        match self {
            Of::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Of::Hex => byte.is_ascii_hexdigit(),
            Of::Alnum => byte.is_ascii_alphanumeric(),
            Of::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Of::Dotted => Of::Word.has(byte) || byte == b'.',
        }
    }

    /// The beginning of a text that is of these characters.
    fn body(self, text: &str) -> &str {
        &text[..text.bytes().position(|byte| !self.has(byte)).unwrap_or(text.len())]
    }
}

/// Programs that read such keys hold the heading, too. There no line with the key follows.
fn private_key(before: &[u8], after: &[u8]) -> Option<String> {
    let kind =
        before.iter().rposition(|byte| !(byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' '))?;
    let mut rest = after.strip_prefix(b" BLOCK").unwrap_or(after).strip_prefix(b"-----")?;
    if !before[..=kind].ends_with(b"-----") || !before[kind + 1..].starts_with(b"BEGIN ") {
        return None;
    }
    let mut lines = 0;
    // In JSON and in scripts, a line ends with an escaped newline.
    while let Some(next) =
        [&b"\\n"[..], b"\n", b"\\r", b"\r", b" ", b"\t"].iter().find_map(|end| rest.strip_prefix(*end))
    {
        lines += 1;
        rest = next;
    }
    let base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let body: String = rest.iter().take_while(base64).take(64).map(|byte| char::from(*byte)).collect();
    (lines > 0 && body.len() >= 40 && is_random(&body)).then(|| "a private key".to_string())
}

/// Whether a word begins behind these bytes. In a binary, one string follows upon another, so it counts only for
/// beginnings that are part of other words.
fn is_apart(before: &[u8], start: &str, is_text: bool) -> bool {
    let is_distinct = start.len() > 3 && start.contains(['-', '_', '.']);
    !before.last().is_some_and(|byte| Of::Word.has(*byte)) || (!is_text && is_distinct)
}

fn token(shape: &Shape, before: &[u8], line: &str, is_text: bool) -> Option<String> {
    let body = shape.of.body(line);
    let found =
        (shape.least..=shape.most).contains(&body.len()) && is_random(body) && is_apart(before, shape.start, is_text);
    found.then(|| format!("a token that begins with {}", shape.start))
}

/// Header, payload and signature.
fn json_web_token(before: &[u8], line: &str, is_text: bool) -> Option<String> {
    let mut parts = Of::Dotted.body(line).split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?.strip_prefix(JWT)?, parts.next()?);
    let found = header.len() >= 10 && payload.len() >= 10 && signature.len() >= 40 && is_random(signature);
    let is_sample = signature.starts_with(SAMPLE_JWT);
    (found && !is_sample && is_apart(before, JWT, is_text)).then(|| "a JSON Web Token".to_string())
}

/// `SCHEME://USER:PASSWORD@HOST` with a password that nobody made up for a sample.
fn password(line: &str) -> Option<String> {
    let authority = &line[..line.find(['/', ' ', '"', '\'', '`', ')', '>']).unwrap_or(line.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (password.len() >= 10 && is_random(password)).then(|| "a URL with a password".to_string())
}

/// `KEY: VALUE`, `KEY=VALUE`, `"KEY": "VALUE"`.
fn value_of(before: &[u8], line: &str, key: &str) -> Option<String> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if before.last().is_some_and(is_word) || line.as_bytes().first().is_some_and(is_word) {
        return None;
    }
    let rest = line.trim_start_matches(['"', '\'']).trim_start();
    let value = rest.strip_prefix('=').or_else(|| rest.strip_prefix(": "))?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    let value = &value[..value.find(['"', '\'', ' ', ',', ';']).unwrap_or(value.len())];
    (value.len() >= 16 && is_random(value)).then(|| format!("a value of {key}"))
}

/// Whether a text looks like made by chance: of letters and digits, and of many different ones.
fn is_random(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '=' | '.' | '!' | '%');
    let distinct: BTreeSet<char> = text.chars().collect();
    text.chars().all(plain)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && distinct.len() * 2 >= text.len().min(16)
        && !is_placeholder(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaks of a file `f` that comes in pieces.
    fn leaks_of(pieces: &[&[u8]]) -> Vec<String> {
        let search = Search::new(&["DATABASE_URL", "JWT_SECRET"]);
        let mut stream = search.stream();
        pieces.iter().for_each(|piece| stream.feed(piece));
        stream.end().iter().map(|leak| leak.of_file("f")).collect()
    }

    fn leaks(text: &str) -> Vec<String> {
        leaks_of(&[text.as_bytes()]).into_iter().map(|leak| leak.replace("f:", "").replacen(": ", " ", 1)).collect()
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

    /// Characters of an alphabet that look made by chance.
    fn body(of: Of, length: usize) -> String {
        let all: Vec<u8> = (b'0'..=b'z').filter(|byte| Of::Alnum.has(*byte) && of.has(*byte)).collect();
        (0..length).map(|index| char::from(all[index * 7 % all.len()])).collect()
    }

    #[test]
    fn every_shape_is_found_whole_and_not_cut_short() {
        for shape in &SHAPES {
            let token = format!("{}{}", shape.start, body(shape.of, shape.least));
            let message = format!("1 a token that begins with {}", shape.start);
            assert_eq!(leaks(&format!("key = \"{token}\"")), [message]);
            assert_eq!(leaks(&format!("key = \"{}\"", &token[..token.len() - 1])), [""; 0], "{}", shape.start);
            assert_eq!(leaks(&format!("x{token}")), [""; 0], "{} within a word", shape.start);
        }
        for (index, shape) in SHAPES.iter().enumerate() {
            assert!(SHAPES[..index].iter().all(|other| other.start != shape.start), "{} twice", shape.start);
        }
    }

    #[test]
    fn json_web_tokens_are_found_but_for_the_sample_of_their_documentation() {
        let start = ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0"].join(".");
        assert_eq!(leaks(&format!("bearer {start}.{}", body(Of::Alnum, 43))), ["1 a JSON Web Token"]);
        assert_eq!(leaks(&format!("bearer {start}.{SAMPLE_JWT}")), [""; 0]);
        assert_eq!(leaks(&format!("bearer {start}.short")), [""; 0]);
    }

    #[test]
    fn a_secret_in_a_binary_is_found_with_its_place() {
        let token = ["ghp_", &body(Of::Alnum, 36)].concat();
        let message = ["f at byte 8: a token that begins with ghp_"];
        assert_eq!(leaks_of(&[format!("\x7fELF\0abc{token}\0").as_bytes()]), message, "strings are not set apart");
        assert_eq!(leaks_of(&[format!("\x7fELF\0ab\0{token}abc").as_bytes()]), message);
        let key = ["\0x-----BEGIN PRIVATE", " KEY-----\n", &body(Of::Alnum, 64), "\n"].concat();
        assert_eq!(leaks_of(&[key.as_bytes()]), ["f at byte 13: a private key"]);
    }

    #[test]
    fn headings_and_names_in_a_binary_are_no_secrets() {
        let name = body(Of::Alnum, 64);
        for text in [
            "-----BEGIN RSA PRIVATE KEY-----".to_string(),
            "-----BEGIN PRIVATE KEY----------BEGIN EC PRIVATE KEY-----".to_string(),
            // Strings of a program follow upon each other without an end.
            format!("-----BEGIN PRIVATE KEY-----{name}"),
            format!("disk-{name}"),
            // Kinds of keys, in every program of OpenSSH.
            "sk-ecdsa-sha2-nistp256@openssh.com".to_string(),
            "sk-ssh-ed25519-cert-v01@openssh.com".to_string(),
            format!("JWT_SECRET{name}"),
            format!("xAKIA{}", body(Of::Upper, 16)),
            format!("AKIA{}", body(Of::Upper, 17)),
            "DATABASE_URL=".to_string(),
        ] {
            assert_eq!(leaks_of(&[b"\0", text.as_bytes(), b"\0"]), [""; 0], "{text}");
        }
    }

    #[test]
    fn only_the_published_keys_of_a_library_are_no_secrets() {
        let leak = |what: &str| Leak { at: At::Byte(7), what: what.to_string() };
        assert!(leak("a private key").is_published("usr/lib/x86_64-linux-gnu/libgnutls.so.30"));
        assert!(!leak("a private key").is_published("usr/lib/libgnutls-own.so.1"));
        assert!(!leak("a JSON Web Token").is_published("usr/lib/libgnutls.so.30"));
    }

    #[test]
    fn an_escaped_private_key_is_found() {
        let key = ["{\"key\": \"-----BEGIN PRIVATE", " KEY-----\\n", &body(Of::Alnum, 64), "\\n"].concat();
        assert_eq!(leaks(&key), ["1 a private key"]);
    }

    #[test]
    fn a_secret_across_pieces_is_found_once_and_the_memory_is_bounded() {
        let token = ["xoxb-", &body(Of::Word, 40)].concat();
        let line = b"a line of text, of thirty-two b\n";
        let lines = line.repeat(CHUNK / line.len() + 1000);
        // Past the place to which a first look goes, and past the end of what it sees.
        for count in (CHUNK - AHEAD) / line.len() - 40..CHUNK / line.len() + 40 {
            let (head, tail) = lines.split_at(count * line.len());
            let search = Search::new(&[]);
            let mut stream = search.stream();
            let text = [head, token.as_bytes(), b"\n", tail].concat();
            for piece in text.chunks(1000) {
                stream.feed(piece);
                assert!(stream.window.len() < CHUNK + AHEAD + BEHIND + 1000, "{}", stream.window.len());
            }
            let found: Vec<String> = stream.end().iter().map(|leak| leak.of_file("f")).collect();
            let expected = format!("f:{}: a token that begins with xoxb-", count + 1);
            assert_eq!(found, [expected]);
        }
    }
}
