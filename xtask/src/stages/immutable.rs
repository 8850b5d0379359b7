//! Objects that helm cannot change in place: they are deleted before it upgrades or rolls back, and it creates them again.

use anyhow::Result;
use serde_json::Value;

use crate::live;
use crate::model::plan::{drift, object_label};
use crate::model::subset::differences;
use crate::run::context::{Context, Scope};
use crate::tools::kubectl;

/// What becomes of the children of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Children {
    /// They stay, for the next object of that name to adopt.
    Stay,
    Go,
}

/// Deletes live objects whose immutable fields or renumbered ports the wanted ones change; `applied` gives the manifest that
/// helm applied last. Volumes stay, and so do the pods of a
/// StatefulSet, which the new one adopts.
pub fn delete_immutable(
    ctx: &Context,
    scope: &Scope,
    wanted: &[Value],
    live: &[Value],
    applied: impl FnOnce() -> Result<String>,
) -> Result<()> {
    let mut found: Vec<(String, Children)> =
        wanted.iter().filter_map(|object| Some((object_label(object), in_the_way(object, live)?))).collect();
    if wanted.iter().any(|object| object["kind"] == "Service" && !drift(std::slice::from_ref(object), live).is_empty())
    {
        let applied = live::objects_in(&applied()?)?;
        let edited = wanted.iter().filter(|object| has_renumbered_port(object, &applied, live));
        found.extend(edited.map(|object| (object_label(object), Children::Stay)));
    }
    if found.is_empty() {
        return Ok(());
    }
    let names = |children: Option<Children>| -> Vec<String> {
        let of = found.iter().filter(|(_, one)| children.is_none_or(|wanted| wanted == *one));
        of.map(|(name, _)| name.clone()).collect()
    };
    ctx.ui.say(&format!("recreating {}: the changed fields are immutable", names(None).join(", ")));
    let (deadline, target) = (ctx.config.deadlines.helm, &scope.target);
    let (orphaning, whole) = (names(Some(Children::Stay)), names(Some(Children::Go)));
    if !orphaning.is_empty() {
        ctx.run(kubectl::delete_orphaning(target, &orphaning, deadline))?;
    }
    if !whole.is_empty() {
        ctx.run(kubectl::delete(target, &whole, deadline))?;
    }
    Ok(())
}

/// Whether a live Service has a port under another number than helm gave it. Helm pairs ports by their numbers: it would
/// add the wanted one beside that, under a name that is taken.
fn has_renumbered_port(wanted: &Value, applied: &[Value], live: &[Value]) -> bool {
    let (Some(applied), Some(live)) = (same(wanted, applied), same(wanted, live)) else { return false };
    let ports = |service: &Value| service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let given = ports(applied);
    let renumbered = |port: &Value| given.iter().any(|one| one["name"] == port["name"] && one["port"] != port["port"]);
    wanted["kind"] == "Service" && ports(live).iter().any(renumbered)
}

/// What becomes of the children of a live object that must be deleted, as a field differs that the API server never changes;
/// None where the object can be changed in place.
fn in_the_way(object: &Value, live: &[Value]) -> Option<Children> {
    let (wanted, other) = (&object["spec"], &same(object, live)?["spec"]);
    let lacks = |fields: &[&str]| fields.iter().any(|field| !differences(&wanted[*field], &other[*field]).is_empty());
    // The API server adds nothing to a selector, and one with a label less is another one. Its pods are nobody's then.
    let has_other_selector = || wanted["selector"] != other["selector"];
    match object["kind"].as_str()? {
        "StatefulSet" | "Deployment" | "DaemonSet" if has_other_selector() => Some(Children::Go),
        "StatefulSet" if lacks(&["serviceName", "podManagementPolicy", "volumeClaimTemplates"]) => Some(Children::Stay),
        "Job" if lacks(&["template", "selector", "completions", "completionMode"]) => Some(Children::Go),
        "Service" if has_other_cluster_ip(wanted, other) => Some(Children::Stay),
        _ => None,
    }
}

/// A Service that becomes headless or ceases to be, or asks for another address.
fn has_other_cluster_ip(wanted: &Value, live: &Value) -> bool {
    let (wanted_ip, live_ip) = (&wanted["clusterIP"], &live["clusterIP"]);
    match wanted_ip.as_str().unwrap_or_default() {
        "" => live_ip == "None" && wanted["type"] != "ExternalName",
        address => live_ip.is_string() && live_ip != address,
    }
}

fn same<'a>(object: &Value, others: &'a [Value]) -> Option<&'a Value> {
    let matches =
        |other: &&Value| other["kind"] == object["kind"] && other["metadata"]["name"] == object["metadata"]["name"];
    others.iter().find(matches)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_that_somebody_renumbered_is_in_the_way_and_one_that_the_chart_changes_is_not() {
        let service = |port: u16| {
            let ports = json!([{"name": "http", "port": port}]);
            json!({"kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}})
        };
        assert!(has_renumbered_port(&service(80), &[service(80)], &[service(81)]));
        assert!(has_renumbered_port(&service(82), &[service(80)], &[service(81)]));
        assert!(!has_renumbered_port(&service(82), &[service(80)], &[service(80)]));
        assert!(!has_renumbered_port(&service(80), &[], &[service(81)]));
        assert!(!has_renumbered_port(&service(80), &[service(80)], &[]));
    }

    #[test]
    fn each_kind_of_immutable_change_is_in_the_way() {
        let object = |kind: &str, spec: Value| json!({"kind": kind, "metadata": {"name": "a"}, "spec": spec});
        let labels = |labels: Value| json!({"selector": {"matchLabels": labels}});
        for (kind, live, wanted, expected) in [
            ("StatefulSet", json!({"serviceName": "a"}), json!({"serviceName": "b"}), Some(Children::Stay)),
            ("StatefulSet", labels(json!({"a": "1", "b": "1"})), labels(json!({"a": "1"})), Some(Children::Go)),
            ("Deployment", labels(json!({"a": "1"})), labels(json!({"a": "2"})), Some(Children::Go)),
            ("Deployment", labels(json!({"a": "1"})), labels(json!({"a": "1"})), None),
            ("Deployment", json!({"replicas": 1}), json!({"replicas": 2}), None),
            ("Job", json!({"template": {"x": 1, "default": 1}}), json!({"template": {"x": 2}}), Some(Children::Go)),
            ("Job", json!({"template": {"x": 1, "default": 1}}), json!({"template": {"x": 1}}), None),
            ("Service", json!({"clusterIP": "10.0.0.1"}), json!({"clusterIP": "None"}), Some(Children::Stay)),
            ("Service", json!({"clusterIP": "None"}), json!({}), Some(Children::Stay)),
            ("Service", json!({"clusterIP": "10.0.0.1"}), json!({}), None),
            ("Service", json!({"clusterIP": "None"}), json!({"type": "ExternalName"}), None),
        ] {
            let found = in_the_way(&object(kind, wanted.clone()), &[object(kind, live)]);
            assert_eq!(found, expected, "{kind} {wanted}");
        }
        assert_eq!(in_the_way(&object("Job", json!({})), &[]), None);
    }
}
