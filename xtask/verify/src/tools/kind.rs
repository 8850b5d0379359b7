//! kind, which makes clusters whose nodes are containers of docker.

use std::time::Duration;

use xtask::run::call::{Call, argv, call};

/// It waits for the control plane itself.
const READY: &str = "180s";
const LONGEST: Duration = Duration::from_secs(420);

/// Makes a cluster by a configuration file, of an image of nodes where it is not kind's own.
pub fn create(kind: &str, name: &str, config: &str, kubeconfig: &str, image: Option<&str>) -> Call {
    let image: Vec<&str> = image.into_iter().flat_map(|image| ["--image", image]).collect();
    call(argv!(
        "{kind} create cluster --name {name} --config {config} --kubeconfig {kubeconfig} --wait {READY} {image...}"
    ))
    .within(LONGEST)
}

/// Removes a cluster, which need not be there.
pub fn delete(kind: &str, name: &str, kubeconfig: &str) -> Call {
    call(argv!("{kind} delete cluster --name {name} --kubeconfig {kubeconfig}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_made_of_the_image_that_is_named_or_of_kinds_own() {
        let made = |image| create("kind", "x", "c.yaml", "k.yaml", image).argv.join(" ");
        let own = "kind create cluster --name x --config c.yaml --kubeconfig k.yaml --wait 180s";
        assert_eq!(made(None), own);
        assert_eq!(made(Some("a:1")), format!("{own} --image a:1"));
    }
}
