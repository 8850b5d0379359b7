//! Images in a node's containerd, by `ctr` in the node.

use std::collections::BTreeSet;

use crate::model::image::qualified;
use crate::run::call::{Call, argv, call};

/// An import that fails may have recorded its image before, without all of its layers: the node would list what it can't run.
const IMPORT_MISSING: &str = r#"ctr --namespace k8s.io images import - && exit
[ -n "$(ctr --namespace k8s.io images check --quiet "name==$1")" ] || ctr --namespace k8s.io images rm "$1"
exit 1"#;

/// Imports an image archive from stdin into a node's containerd.
pub fn import(node: &str) -> Call {
    call(argv!("docker exec --interactive {node} ctr --namespace k8s.io images import -"))
}

/// The same of an archive without the layers that the node has. Where one is gone by then it fails, and no image is left under the name
/// that is not whole.
pub fn import_missing(node: &str, reference: &str) -> Call {
    let reference = qualified(reference);
    call(argv!("docker exec --interactive {node} sh -c {IMPORT_MISSING} import {reference}"))
}

/// The names under which a node has images of registries on a host.
pub fn names_of(node: &str, host: &str) -> Call<Vec<String>> {
    let filter = format!("name~=\"^{host}:[0-9]+/\"");
    call(argv!("docker exec {node} ctr --namespace k8s.io images ls --quiet {filter}")).lines()
}

/// Takes names of images away, and the images where they have no other. To remove one by crictl would take all of its names.
pub fn forget(node: &str, names: &[String]) -> Call {
    call(argv!("docker exec {node} ctr --namespace k8s.io images rm {names...}"))
}

/// The digests of all that a node's containerd stores: layers, configs and manifests.
pub fn blobs(node: &str) -> Call<BTreeSet<String>> {
    call(argv!("docker exec {node} ctr --namespace k8s.io content ls --quiet")).lines().parse(BTreeSet::from_iter)
}
