//! References of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.

use std::fmt;

use crate::entities::version::parse_version;

/// A reference as manifests have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: Option<String>,
    repository: String,
    tag: Option<Tag>,
    digest: Option<String>,
}

/// The tag of an image: 1 to 128 letters, digits, `_`, `.` and `-`, the first none of `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(String);

impl Reference {
    pub fn parse(text: &str) -> Result<Reference, String> {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        // A colon before the last slash is that of a registry's port.
        let colon = name.rfind(':').filter(|colon| name.rfind('/').is_none_or(|slash| slash < *colon));
        let (name, tag) = colon.map_or((name, None), |colon| (&name[..colon], Some(&name[colon + 1..])));
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (Some(first), rest),
            _ => (None, name),
        };
        if name.len() > 255 || !repository.split('/').all(is_component) {
            return Err(format!(
                "\"{text}\" is not an image reference: a repository is words of a-z and 0-9, parted by /, and within by one of . _ __ or hyphens"
            ));
        }
        if registry.is_some_and(|registry| !is_registry(registry)) {
            return Err(format!("\"{text}\" is not an image reference: its registry is not HOST or HOST:PORT"));
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(format!("\"{text}\" is not an image reference: a digest is sha256: and 64 hexadecimal digits"));
        }
        Ok(Reference {
            registry: registry.map(str::to_string),
            repository: repository.to_string(),
            tag: tag.map(Tag::parse).transpose()?,
            digest: digest.map(str::to_string),
        })
    }

    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The name without registry and tag: `library/postgres`, `todo-chatbot-backend`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether both name the same image, with `docker.io/library/` and `:latest` understood where they aren't written.
    pub fn is_same(&self, other: &Reference) -> bool {
        self.full() == other.full()
    }

    /// Whether the tag is understood or says `latest`, and there is no digest: it may be another image tomorrow.
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.as_ref().is_none_or(|tag| tag.as_str() == "latest")
    }

    fn full(&self) -> (String, String, Option<&str>) {
        let registry = self.registry.as_deref().unwrap_or("docker.io");
        let library = if registry == "docker.io" && !self.repository.contains('/') { "library/" } else { "" };
        let tag = self.tag.as_ref().map_or(if self.digest.is_some() { "" } else { "latest" }, Tag::as_str);
        (format!("{registry}/{library}{}", self.repository), tag.to_string(), self.digest())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Tag {
    pub fn parse(text: &str) -> Result<Tag, String> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        match (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-']) {
            true => Ok(Tag(text.to_string())),
            false => Err(format!(
                "\"{text}\" is not an image tag: 1 to 128 of letters, digits, _, . and -, the first none of . and -"
            )),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `latest` or a semantic version, with or without a leading v.
    pub fn is_semver_or_latest(&self) -> bool {
        self.0 == "latest" || parse_version(self.0.strip_prefix('v').unwrap_or(&self.0)).is_ok()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word);
    let parts = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|part| !part.is_empty());
    ends && parts.into_iter().all(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-'))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |part: &str| {
        let inner = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !part.is_empty() && inner && !part.starts_with('-') && !part.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specs_references_are_read() {
        for (text, registry, repository, tag) in [
            ("todo-chatbot-frontend:0.1.0", None, "todo-chatbot-frontend", Some("0.1.0")),
            ("todo-backend:latest", None, "todo-backend", Some("latest")),
            ("minikube.local/ai-todo-backend:v1.0.0", Some("minikube.local"), "ai-todo-backend", Some("v1.0.0")),
            ("todo-frontend:1.0.0", None, "todo-frontend", Some("1.0.0")),
            ("python:3.13-slim", None, "python", Some("3.13-slim")),
            ("localhost:5000/a/b_c/d__e-f", Some("localhost:5000"), "a/b_c/d__e-f", None),
            ("docker.io/library/nginx:alpine", Some("docker.io"), "library/nginx", Some("alpine")),
            ("library/nginx", None, "library/nginx", None),
        ] {
            let read = Reference::parse(text).unwrap();
            assert_eq!((read.registry(), read.repository(), read.tag().map(Tag::as_str)), (registry, repository, tag));
            assert_eq!(read.to_string(), text);
        }
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(Reference::parse(&digest).unwrap().to_string(), digest);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = format!("a:{}", "x".repeat(129));
        for text in [
            "",
            "A:1",
            "a:",
            "a:-1",
            "a:.1",
            "a:x/2:y",
            "-a",
            "a_",
            "a___b:1",
            "a..b",
            "a:b c",
            "a@sha256:0",
            "host.:70000/a",
            &long,
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_and_latest_differ_from_other_tags() {
        let is = |text| Tag::parse(text).unwrap().is_semver_or_latest();
        for text in ["latest", "0.1.0", "1.0.0", "v1.0.0", "1.0.0-h0123abcd"] {
            assert!(is(text), "{text}");
        }
        for text in ["1.0", "alpine", "3.13-slim", "vlatest", "1.0.0_1"] {
            assert!(!is(text), "{text}");
        }
    }

    #[test]
    fn a_reference_is_the_same_however_short_it_is() {
        let same = |a, b| Reference::parse(a).unwrap().is_same(&Reference::parse(b).unwrap());
        assert!(same("a:1", "docker.io/library/a:1"));
        assert!(same("a", "a:latest"));
        assert!(!same("a:1", "a:2"));
        assert!(!same("a:1", "minikube.local/a:1"));
    }
}
