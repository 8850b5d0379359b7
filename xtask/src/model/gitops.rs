//! Which GitOps controller applied an object, by what it writes on all that it applies.

use std::fmt;

use serde_json::Value;

/// A controller, and its object that says what is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applier {
    controller: Controller,
    namespace: String,
    name: String,
}

/// An entry in the history of a controller's object. Packages that differ in their values alone have the same chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry<'a> {
    pub number: u64,
    /// The version of the chart.
    pub chart: &'a str,
    /// As the Kubernetes API writes a time.
    pub at: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Controller {
    ArgoCd,
    Flux,
}

/// Where Argo CD's own manifests install it, and Applications are that do not say otherwise.
const ARGO_CD_NAMESPACE: &str = "argocd";

impl Applier {
    /// Who applied the first of these objects that somebody did.
    pub fn of(objects: &[Value]) -> Option<Applier> {
        objects.iter().find_map(|object| argo_cd(&object["metadata"]).or_else(|| flux(&object["metadata"])))
    }

    /// What `package --gitops` calls the controller.
    pub fn option(&self) -> String {
        self.controller().replace(' ', "").to_lowercase()
    }

    pub fn controller(&self) -> &'static str {
        match self.controller {
            Controller::ArgoCd => "Argo CD",
            Controller::Flux => "Flux",
        }
    }

    pub fn kind(&self) -> &'static str {
        match self.controller {
            Controller::ArgoCd => "Application",
            Controller::Flux => "HelmRelease",
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace of its object.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its object as kubectl calls it.
    pub fn object(&self) -> String {
        let kind = match self.controller {
            Controller::ArgoCd => "applications.argoproj.io",
            Controller::Flux => "helmreleases.helm.toolkit.fluxcd.io",
        };
        format!("{kind}/{}", self.name)
    }

    /// What it applied last, as its object says.
    pub fn last<'a>(&self, object: &'a Value) -> Option<Entry<'a>> {
        let history = object["status"]["history"].as_array()?;
        // Argo CD has the newest at the end.
        let (last, [number, chart, at]) = match self.controller {
            Controller::ArgoCd => (history.last()?, ["id", "revision", "deployedAt"]),
            Controller::Flux => (history.first()?, ["version", "chartVersion", "lastDeployed"]),
        };
        Some(Entry { number: last[number].as_u64()?, chart: last[chart].as_str()?, at: last[at].as_str()? })
    }

    /// The command of the controller's own that takes away what it applied. Of an Application without a finalizer kubectl
    /// deletes nothing but itself.
    pub fn delete_command(&self) -> Vec<String> {
        let Applier { controller, namespace, name } = self;
        let words: &[&str] = match controller {
            Controller::ArgoCd if namespace == ARGO_CD_NAMESPACE => &["argocd", "app", "delete", name],
            Controller::ArgoCd => &["argocd", "app", "delete", &format!("{namespace}/{name}")],
            Controller::Flux => &["flux", "delete", "helmrelease", name, "--namespace", namespace],
        };
        words.iter().map(|word| word.to_string()).collect()
    }
}

/// By `APPLICATION:GROUP/KIND:NAMESPACE/NAME`; an Application that is elsewhere is `NAMESPACE_APPLICATION`.
fn argo_cd(metadata: &Value) -> Option<Applier> {
    let application = metadata["annotations"]["argocd.argoproj.io/tracking-id"].as_str()?.split(':').next()?;
    let (namespace, name) = application.split_once('_').unwrap_or((ARGO_CD_NAMESPACE, application));
    Some(Applier { controller: Controller::ArgoCd, namespace: namespace.to_string(), name: name.to_string() })
}

fn flux(metadata: &Value) -> Option<Applier> {
    let label = |key: &str| metadata["labels"][format!("helm.toolkit.fluxcd.io/{key}")].as_str();
    let name = label("name")?.to_string();
    let namespace = label("namespace").or(metadata["namespace"].as_str()).unwrap_or_default().to_string();
    Some(Applier { controller: Controller::Flux, namespace, name })
}

/// As in `Argo CD, Application web`.
impl fmt::Display for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", self.controller(), self.kind(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn argo(id: &str) -> Applier {
        Applier::of(&[json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": id}}})]).unwrap()
    }

    fn flux() -> Applier {
        let labels = json!({"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "team"});
        Applier::of(&[json!({"metadata": {"namespace": "other", "labels": labels}})]).unwrap()
    }

    #[test]
    fn an_applier_is_known_by_what_it_writes() {
        let own = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}});
        let tracked = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "team-web:apps/Deployment:team/web"}}});
        assert_eq!(Applier::of(std::slice::from_ref(&own)), None);
        let argo = Applier::of(&[own, tracked]).unwrap();
        assert_eq!((argo.to_string().as_str(), argo.option().as_str()), ("Argo CD, Application team-web", "argocd"));
        assert_eq!((flux().to_string().as_str(), flux().option().as_str()), ("Flux, HelmRelease web", "flux"));
    }

    #[test]
    fn its_object_is_found_where_it_is() {
        let place = |applier: &Applier| format!("{} in {}", applier.object(), applier.namespace());
        assert_eq!(place(&argo("web:apps/Deployment:team/web")), "applications.argoproj.io/web in argocd");
        assert_eq!(place(&argo("apps_web:apps/Deployment:team/web")), "applications.argoproj.io/web in apps");
        assert_eq!(place(&flux()), "helmreleases.helm.toolkit.fluxcd.io/web in team");
        let delete = |applier: &Applier| applier.delete_command().join(" ");
        assert_eq!(delete(&argo("web:x")), "argocd app delete web");
        assert_eq!(delete(&argo("apps_web:x")), "argocd app delete apps/web");
        assert_eq!(delete(&flux()), "flux delete helmrelease web --namespace team");
    }

    #[test]
    fn what_was_applied_last_is_read_from_its_object() {
        let argo_cd = |id: u64| json!({"id": id, "revision": format!("1.0.0+h{id}"), "deployedAt": format!("2026-01-0{id}T00:00:00Z")});
        let history = json!({"status": {"history": [argo_cd(1), argo_cd(2)]}});
        let second = Entry { number: 2, chart: "1.0.0+h2", at: "2026-01-02T00:00:00Z" };
        assert_eq!(argo("web:x").last(&history), Some(second));
        let of_flux = |version: u64| json!({"version": version, "chartVersion": format!("1.0.0+h{version}"), "lastDeployed": format!("2026-01-0{version}T00:00:00Z")});
        let history = json!({"status": {"history": [of_flux(2), of_flux(1)]}});
        assert_eq!(flux().last(&history), Some(second));
        assert_eq!(argo("web:x").last(&json!({"status": {}})), None);
    }
}
