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
