//! Which GitOps controller applied an object, by what it writes on all that it applies.

use std::fmt;

use serde_json::Value;

/// A controller, and its object that says what is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applier {
    controller: &'static str,
    kind: &'static str,
    name: String,
}

impl Applier {
    /// Who applied the first of these objects that somebody did.
    pub fn of(objects: &[Value]) -> Option<Applier> {
        objects.iter().find_map(|object| {
            let metadata = &object["metadata"];
            // `APPLICATION:GROUP/KIND:NAMESPACE/NAME`
            let tracked = metadata["annotations"]["argocd.argoproj.io/tracking-id"].as_str();
            let argo = tracked.and_then(|id| id.split(':').next()).map(|name| ("Argo CD", "Application", name));
            let flux = metadata["labels"]["helm.toolkit.fluxcd.io/name"].as_str();
            let (controller, kind, name) = argo.or(flux.map(|name| ("Flux", "HelmRelease", name)))?;
            Some(Applier { controller, kind, name: name.to_string() })
        })
    }

    /// What `package --gitops` calls the controller.
    pub fn option(&self) -> String {
        self.controller.replace(' ', "").to_lowercase()
    }
}

/// As in `Argo CD, Application web`.
impl fmt::Display for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.controller, self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_applier_is_known_by_what_it_writes() {
        let own = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}});
        let argo = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "team-web:apps/Deployment:team/web"}}});
        let flux = json!({"metadata": {"labels": {"helm.toolkit.fluxcd.io/name": "web"}}});
        assert_eq!(Applier::of(std::slice::from_ref(&own)), None);
        let argo = Applier::of(&[own, argo]).unwrap();
        assert_eq!((argo.to_string().as_str(), argo.option().as_str()), ("Argo CD, Application team-web", "argocd"));
        let flux = Applier::of(&[flux]).unwrap();
        assert_eq!((flux.to_string().as_str(), flux.option().as_str()), ("Flux, HelmRelease web", "flux"));
    }
}
