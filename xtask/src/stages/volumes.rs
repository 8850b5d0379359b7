//! Removes the volumes of claims that are gone. Minikube's provisioner removes only those that it has made since it last
//! started: after a restart of the node, what a claim held stays there, and the next claim of that name finds it.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::run::context::Context;
use crate::run::poll;
use crate::stages::cluster;
use crate::tools::{docker, kubectl};

const PROVISIONER: &str = "k8s.io/minikube-hostpath";
const FOLDER: &str = "/tmp/hostpath-provisioner";
/// How long the provisioner gets to do it itself.
const QUIET: Duration = Duration::from_secs(5);

/// Removes what is left of claims in these namespaces, with the data on the nodes. Volumes that are to be kept stay.
pub fn remove_left(ctx: &Context, namespaces: &[String]) -> Result<()> {
    // What becomes of a volume on a target is the matter of those who run it.
    if ctx.config.target.is_some() {
        return Ok(());
    }
    let look = || -> Result<Vec<Left>> {
        Ok(all_left(&ctx.run(kubectl::get(&ctx.target(), "persistentvolumes", None))?, namespaces))
    };
    let mut last = Vec::new();
    poll::until(&ctx.spawn.interrupt, QUIET, || {
        last = look()?;
        Ok(last.is_empty().then_some(()))
    })?;
    if last.is_empty() {
        return Ok(());
    }
    let nodes = cluster::nodes(ctx)?;
    for Left { name, path } in &last {
        nodes.iter().try_for_each(|node| ctx.run(docker::node_remove_folder(node, path)).map(drop))?;
        ctx.run(kubectl::delete(&ctx.target(), &[format!("persistentvolume/{name}")], QUIET))?;
    }
    Ok(())
}

/// A volume that nobody will remove, and its folder on the nodes.
#[derive(Debug, PartialEq)]
struct Left {
    name: String,
    path: String,
}

/// But for a folder that a claim has again.
fn all_left(volumes: &[Value], namespaces: &[String]) -> Vec<Left> {
    let is_used = |path: &str| {
        volumes.iter().any(|one| one["status"]["phase"] != "Released" && one["spec"]["hostPath"]["path"] == path)
    };
    volumes.iter().filter_map(|volume| left(volume, namespaces)).filter(|left| !is_used(&left.path)).collect()
}

fn left(volume: &Value, namespaces: &[String]) -> Option<Left> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let (about, spec) = (&volume["metadata"], &volume["spec"]);
    let is_made = about["annotations"]["pv.kubernetes.io/provisioned-by"] == PROVISIONER;
    let is_over = volume["status"]["phase"] == "Released" && spec["persistentVolumeReclaimPolicy"] == "Delete";
    let (namespace, claim) = (text(&spec["claimRef"]["namespace"]), text(&spec["claimRef"]["name"]));
    let path = format!("{FOLDER}/{namespace}/{claim}");
    let is_there = spec["hostPath"]["path"] == path.as_str() && !claim.is_empty();
    let is_ours = namespaces.contains(&namespace);
    (is_made && is_over && is_there && is_ours).then(|| Left { name: text(&about["name"]), path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(namespace: &str) -> Value {
        json!({
            "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {"namespace": namespace, "name": "data-postgres-0"},
                "hostPath": {"path": format!("{FOLDER}/{namespace}/data-postgres-0")},
            },
            "status": {"phase": "Released"},
        })
    }

    #[test]
    fn only_what_was_left_by_our_own_claims_is_removed() {
        let namespaces = ["todo".to_string()];
        let found = Left { name: "pvc-1".to_string(), path: format!("{FOLDER}/todo/data-postgres-0") };
        assert_eq!(left(&volume("todo"), &namespaces), Some(found));
        assert_eq!(left(&volume("theirs"), &namespaces), None);
        let mut bound = volume("todo");
        bound["status"]["phase"] = "Bound".into();
        assert_eq!(all_left(&[volume("todo"), bound, volume("theirs")], &namespaces), []);
        assert_eq!(all_left(&[volume("todo"), volume("theirs")], &namespaces).len(), 1);
        for (place, value) in [
            ("/status/phase", "Bound"),
            ("/spec/persistentVolumeReclaimPolicy", "Retain"),
            ("/metadata/annotations/pv.kubernetes.io~1provisioned-by", "rancher.io/local-path"),
            ("/spec/hostPath/path", "/"),
            ("/spec/hostPath/path", "/tmp/hostpath-provisioner/todo"),
            ("/spec/claimRef/name", ""),
        ] {
            let mut other = volume("todo");
            *other.pointer_mut(place).unwrap() = value.into();
            assert_eq!(left(&other, &namespaces), None, "{place} {value}");
        }
    }
}
