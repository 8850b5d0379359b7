//! Images: where their bases come from, and one that was built.

/// Where base images come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Images {
    /// From registries, under their public names.
    Public,
    /// Made here: references of the node, the Debian base and the Rust builder.
    Local { node: String, debian: String, rust: String },
}

impl Images {
    /// The node image to make the cluster from, where it is one of our own.
    pub fn node(&self) -> Option<&str> {
        match self {
            Images::Public => None,
            Images::Local { node, .. } => Some(node),
        }
    }
}

/// An image that is there, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    pub repository: String,
    pub tag: String,
    /// The image's ID, `sha256:…`.
    pub id: String,
}

impl Built {
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// A reference as container runtimes complete it: `busybox` is `docker.io/library/busybox:latest`.
pub fn qualified(reference: &str) -> String {
    let (first, rest) = reference.split_once('/').unwrap_or(("", reference));
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    let named = match (is_registry, first) {
        (true, _) => reference.to_string(),
        (false, "") => format!("docker.io/library/{reference}"),
        (false, _) => format!("docker.io/{reference}"),
    };
    let last = rest.rsplit('/').next().unwrap_or(rest);
    if last.contains([':', '@']) { named } else { format!("{named}:latest") }
}

/// The same as docker shortens it, which leaves out its own library.
pub fn short(reference: &str) -> &str {
    reference.strip_prefix("docker.io/library/").unwrap_or(reference)
}

/// An image as the host's docker or a node lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub id: String,
    pub references: Vec<String>,
    /// As what it was made, by the project's label; a node doesn't tell.
    pub label: Option<String>,
    /// When it was made, in a form that sorts by time; a node doesn't tell.
    pub created: String,
    pub size_bytes: u64,
    /// Held by the node itself.
    pub pinned: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_completed_as_runtimes_do() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.37", "docker.io/library/busybox:1.37"),
            ("docker.io/library/busybox:1.37", "docker.io/library/busybox:1.37"),
            ("some/tool", "docker.io/some/tool:latest"),
            ("localhost/tool:1", "localhost/tool:1"),
            ("registry:5000/tool", "registry:5000/tool:latest"),
            ("todo.local/a/debian:f0", "todo.local/a/debian:f0"),
            ("tool@sha256:1", "docker.io/library/tool@sha256:1"),
        ] {
            assert_eq!(qualified(short), full);
        }
    }
}
