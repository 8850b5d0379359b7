//! Images in a node's containerd, by `ctr` in the node.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::{qualified, short};
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

/// The images of a node with the digests of their manifests, as a table.
pub fn manifests(node: &str) -> Call<BTreeMap<String, String>> {
    call(argv!("docker exec {node} ctr --namespace k8s.io images list")).parse(|text| parse_manifests(&text))
}

/// Reference to manifest digest from what `manifests` printed.
fn parse_manifests(stdout: &str) -> BTreeMap<String, String> {
    let rows = stdout.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace();
        Some((short(columns.next()?).to_string(), columns.nth(1)?.to_string()))
    });
    rows.collect()
}

/// Gives a node's image `from` the name `to` as well, and takes it from whichever had it.
pub fn tag(node: &str, from: &str, to: &str) -> Call {
    let (from, to) = (format!("docker.io/library/{from}"), format!("docker.io/library/{to}"));
    call(argv!("docker exec {node} ctr --namespace k8s.io images tag --force {from} {to}"))
}

/// A container of a node as containerd started it. Its environment is in it, and Secrets in that: see
/// `parse_environment`.
pub fn container(node: &str, id: &str) -> Call<Option<BTreeMap<String, String>>> {
    call(argv!("docker exec {node} ctr --namespace k8s.io containers info {id}"))
        .parse(|text| parse_environment(&text))
        .confidential()
}

/// The environment in what `container` printed.
fn parse_environment(stdout: &str) -> Option<BTreeMap<String, String>> {
    let parsed: serde_json::Value = serde_json::from_str(stdout).ok()?;
    let entries = parsed.pointer("/Spec/process/env")?.as_array()?;
    let pairs = entries.iter().filter_map(|entry| entry.as_str()?.split_once('='));
    Some(pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_manifests_are_read_from_the_table() {
        let table = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
                     docker.io/library/a:1 application/vnd.oci.image.manifest.v1+json sha256:9 3.5 MiB linux/arm64 -\n";
        assert_eq!(parse_manifests(table), BTreeMap::from([("a:1".to_string(), "sha256:9".to_string())]));
    }

    #[test]
    fn a_nodes_container_tells_its_environment() {
        let json = r#"{"ID": "1", "Spec": {"process": {"env": ["A=1=2", "B="]}}}"#;
        let read = parse_environment(json).unwrap();
        assert_eq!(read, BTreeMap::from([("A".into(), "1=2".into()), ("B".into(), String::new())]));
        assert_eq!(parse_environment("{}"), None);
    }
}
