//! The tools that were found.

/// Where the tools are, once `bootstrap` has found or made them; absolute paths.
#[derive(Clone, Debug)]
pub struct Tools {
    pub docker: String,
    pub minikube: String,
    pub helm: Helm,
    pub kubectl: String,
}

#[derive(Clone, Debug)]
pub struct Helm {
    pub path: String,
    /// What `upgrade` and `rollback` are given beside what they need.
    pub merge: Vec<String>,
}
