//! Volume claims: those that a StatefulSet's templates want otherwise than they are, and whether they can follow. Kubernetes
//! makes a claim from its template once, and leaves it as it is when the template changes.

use serde_json::{Value, json};

use crate::model::quantity::Memory;

/// A claim that is not as its template wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimChange {
    pub claim: String,
    pub live: String,
    pub wanted: String,
    /// Why it can't be done; None where the claim can grow.
    pub refusal: Option<String>,
}

impl ClaimChange {
    /// The merge patch that grows the claim.
    pub fn patch(&self) -> Value {
        json!({ "spec": { "resources": { "requests": { "storage": self.wanted } } } })
    }
}

/// Whether any claim template is other than the one of the same StatefulSet in `before`, or new.
pub fn templates_differ(wanted: &[Value], before: &[Value]) -> bool {
    let templates = |set: &Value| set["spec"]["volumeClaimTemplates"].clone();
    let of = |set: &Value| {
        let same =
            |other: &&Value| other["kind"] == set["kind"] && other["metadata"]["name"] == set["metadata"]["name"];
        before.iter().find(same).map(templates).unwrap_or_default()
    };
    sets(wanted).any(|set| templates(set).as_array().is_some_and(|all| !all.is_empty()) && templates(set) != of(set))
}

/// What the templates of the wanted StatefulSets ask of the claims that are there. `classes` are the StorageClasses.
pub fn claim_changes(wanted: &[Value], claims: &[Value], classes: &[Value]) -> Vec<ClaimChange> {
    let mut found = Vec::new();
    for set in sets(wanted) {
        for template in set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let prefix = format!("{}-{}-", name(template), name(set));
            let of_set = |claim: &&Value| {
                name(claim).strip_prefix(&prefix).is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
            };
            found.extend(claims.iter().filter(of_set).filter_map(|claim| change(template, claim, classes)));
        }
    }
    found
}

fn change(template: &Value, claim: &Value, classes: &[Value]) -> Option<ClaimChange> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let made = |refusal, live, wanted| Some(ClaimChange { claim: name(claim).to_string(), live, wanted, refusal });
    let (class, wanted_class) = (text(&claim["spec"]["storageClassName"]), text(&template["spec"]["storageClassName"]));
    if !wanted_class.is_empty() && wanted_class != class {
        let refusal = format!("a claim keeps its storage class, {class}");
        return made(Some(refusal), format!("class {class}"), format!("class {wanted_class}"));
    }
    let size = |object: &Value| object["spec"]["resources"]["requests"]["storage"].clone();
    let (live, wanted) = (size(claim), size(template));
    let bytes = |size: &Value| Memory::from_value(size).ok().map(Memory::bytes);
    let (live_bytes, wanted_bytes) = (bytes(&live)?, bytes(&wanted)?);
    let can_grow =
        || classes.iter().any(|one| name(one) == class && one["allowVolumeExpansion"].as_bool() == Some(true));
    let refusal = match wanted_bytes {
        same if same == live_bytes => return None,
        smaller if smaller < live_bytes => Some("a claim cannot shrink".to_string()),
        _ if can_grow() => None,
        _ => Some(format!("its storage class, {class}, does not allow volume expansion")),
    };
    made(refusal, text(&live), text(&wanted))
}

fn sets(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| object["kind"] == "StatefulSet")
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(size: &str, class: Option<&str>) -> Value {
        let mut spec = json!({"resources": {"requests": {"storage": size}}});
        spec["storageClassName"] = class.into();
        json!({"metadata": {"name": "data"}, "spec": spec})
    }

    fn set(template: Value) -> [Value; 1] {
        [json!({"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [template]}})]
    }

    fn claim(name: &str, size: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"storageClassName": "standard", "resources": {"requests": {"storage": size}}}})
    }

    #[test]
    fn a_claim_grows_where_its_class_allows_and_is_refused_otherwise() {
        let class = |grows: Value| [json!({"metadata": {"name": "standard"}, "allowVolumeExpansion": grows})];
        let claims = [claim("data-db-0", "1Gi"), claim("data-db-x", "1Gi"), claim("data-other-0", "1Gi")];
        let of = |size: &str, name: Option<&str>, grows: Value| {
            claim_changes(&set(template(size, name)), &claims, &class(grows))
        };
        assert_eq!(of("1Gi", None, json!(true)), []);
        assert_eq!(of("1024Mi", Some("standard"), json!(null)), []);
        let [grown] = &of("2Gi", None, json!(true))[..] else { panic!("one claim") };
        assert_eq!((grown.claim.as_str(), grown.refusal.as_deref()), ("data-db-0", None));
        assert_eq!(grown.patch()["spec"]["resources"]["requests"]["storage"], "2Gi");
        for (size, name, grows, refusal) in [
            ("2Gi", None, json!(null), "its storage class, standard, does not allow volume expansion"),
            ("500Mi", None, json!(true), "a claim cannot shrink"),
            ("1Gi", Some("fast"), json!(true), "a claim keeps its storage class, standard"),
        ] {
            assert_eq!(of(size, name, grows)[0].refusal.as_deref(), Some(refusal));
        }
    }

    #[test]
    fn claims_are_looked_at_where_a_template_is_new_or_another() {
        let (small, large) = (set(template("1Gi", None)), set(template("2Gi", None)));
        assert!(!templates_differ(&small, &small) && templates_differ(&large, &small) && templates_differ(&small, &[]));
        let without = [json!({"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {}})];
        assert!(!templates_differ(&without, &[]));
    }
}
