//! The cluster at one moment: all that a plan compares with, by two questions side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::model::object::identity;
use crate::model::stored::Stored;
use crate::run::call::Call;
use crate::run::context::{Context, Scope};
use crate::run::exit::{Reason, Stop};
use crate::run::poll;
use crate::tools::helm::Revision;
use crate::tools::kubectl;
use crate::tools::kubectl::{KINDS, SecretHead};

/// What is frozen takes connections and answers none: kubectl would wait for each kind by itself.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an API server that has answered before may be silent.
const TIMEOUT: Duration = Duration::from_secs(15);

pub struct Snapshot {
    /// The objects of all namespaces, of some kinds.
    pub objects: Vec<Value>,
    /// Where each of them is, by kind, namespace and name: a release need not look at those of all others. What is of no
    /// namespace has an empty one.
    places: BTreeMap<[String; 3], usize>,
    /// By namespace and name.
    secrets: BTreeMap<(String, String), SecretHead>,
}

impl Snapshot {
    fn of(objects: Vec<Value>, secrets: BTreeMap<(String, String), SecretHead>) -> Snapshot {
        let place = |(index, object): (usize, &Value)| {
            let (kind, name) = identity(object);
            (place_of(kind, object["metadata"]["namespace"].as_str(), name), index)
        };
        Snapshot { places: objects.iter().enumerate().rev().map(place).collect(), objects, secrets }
    }

    /// Looks; of an API server that does not answer, the last that was said.
    pub fn try_take(ctx: &Context) -> Result<Result<Snapshot, String>> {
        if ctx.config.target.is_some() {
            return Snapshot::of_namespaces(ctx);
        }
        let target = ctx.target();
        let (objects, secrets) = std::thread::scope(|threads| {
            let secrets = threads.spawn(|| ask(ctx, kubectl::get_all_secrets(&target)));
            let objects = ask(ctx, kubectl::get_all(&target));
            (objects, secrets.join().expect("looking at Secrets does not panic"))
        });
        Ok(match (objects?, secrets?) {
            (Ok(objects), Ok(secrets)) => Ok(Snapshot::of(objects, secrets)),
            (Err(said), _) | (_, Err(said)) => Err(said),
        })
    }

    /// The same of the profile's namespaces alone: of a target that several share, one may have no right to see more.
    fn of_namespaces(ctx: &Context) -> Result<Result<Snapshot, String>> {
        let (mut objects, mut secrets) = (Vec::new(), BTreeMap::new());
        for name in ctx.config.namespaces() {
            let target = ctx.target_in(&name);
            let namespace = format!("namespace/{name}");
            let (itself, inside, of_secrets) = std::thread::scope(|threads| {
                let itself = threads.spawn(|| ask(ctx, kubectl::get(&target, &namespace, None)));
                let of_secrets = threads.spawn(|| ask(ctx, kubectl::get_all_secrets_in(&target)));
                let inside = ask(ctx, kubectl::get_all_in(&target));
                let joined = "looking at a namespace does not panic";
                (itself.join().expect(joined), inside, of_secrets.join().expect(joined))
            });
            match (itself?, inside?, of_secrets?) {
                (Ok(itself), Ok(inside), Ok(of_secrets)) => {
                    objects.extend(itself.into_iter().chain(inside));
                    secrets.extend(of_secrets);
                }
                (Err(said), ..) | (_, Err(said), _) | (.., Err(said)) => return Ok(Err(said)),
            }
        }
        Ok(Ok(Snapshot::of(objects, secrets)))
    }

    /// The same of a cluster that answered before.
    pub fn take(ctx: &Context) -> Result<Snapshot> {
        Snapshot::insist(ctx, || Snapshot::try_take(ctx))
    }

    /// What is live of a release's manifest, and its revisions. A look at all for each release of a wave would have the API server
    /// tell of everything as often as there are releases.
    pub fn take_of_release(ctx: &Context, scope: &Scope, manifest: &str, wanted: &[Value]) -> Result<Snapshot> {
        let Scope { target, release } = scope;
        Snapshot::insist(ctx, || {
            let (objects, secrets) = std::thread::scope(|threads| {
                let secrets = threads.spawn(|| ask(ctx, kubectl::get_secrets_of_release(target, release)));
                let objects = match wanted.is_empty() {
                    true => Ok(Ok(Vec::new())),
                    false => ask(ctx, kubectl::get_live(target).stdin(manifest)),
                };
                (objects, secrets.join().expect("looking at Secrets does not panic"))
            });
            Ok(match (objects?, secrets?) {
                (Ok(objects), Ok(secrets)) => Ok(Snapshot::of(objects, secrets)),
                (Err(said), _) | (_, Err(said)) => Err(said),
            })
        })
    }

    fn insist(ctx: &Context, mut look: impl FnMut() -> Result<Result<Snapshot, String>>) -> Result<Snapshot> {
        let mut said = String::new();
        let taken = poll::until(&ctx.spawn.interrupt, TIMEOUT, || {
            Ok(match look()? {
                Ok(snapshot) => Some(snapshot),
                Err(why) => {
                    said = why;
                    None
                }
            })
        })?;
        taken.ok_or_else(|| {
            let message = format!("the cluster does not answer for {} s: {said}", TIMEOUT.as_secs());
            Stop::failed(format!("{message}\nNext: cargo xtask status")).into()
        })
    }

    pub fn services(&self) -> Vec<Value> {
        self.of_kind("Service").cloned().collect()
    }

    pub fn namespace(&self, name: &str) -> Option<&Value> {
        self.find(Some("Namespace"), None, Some(name))
    }

    /// A Secret's version and the names of its keys.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<(String, Vec<String>)> {
        match self.secrets.get(&(namespace.to_string(), name.to_string()))? {
            SecretHead::Keys { version, keys } => Some((version.clone(), keys.clone())),
            SecretHead::Release { .. } => None,
        }
    }

    /// The last revision of a release, if it is installed, as helm keeps it.
    pub fn release(&self, scope: &Scope) -> Result<Option<Stored>> {
        let Some((revision, data, _)) = self.revisions_of(scope).last().copied() else { return Ok(None) };
        let context = || format!("what helm keeps of {} revision {revision} cannot be read", scope.release);
        Stored::read(data).with_context(context).map(Some)
    }

    /// The revisions of a release with their status, the newest at the end.
    pub fn revisions(&self, scope: &Scope) -> Vec<Revision> {
        let revision = |(number, _, status): (u64, &str, &str)| Revision {
            number,
            status: status.to_string(),
            updated: String::new(),
            description: String::new(),
        };
        self.revisions_of(scope).into_iter().map(revision).collect()
    }

    fn revisions_of(&self, scope: &Scope) -> Vec<(u64, &str, &str)> {
        let prefix = format!("sh.helm.release.v1.{}.v", scope.release);
        // Those of other releases are passed over together: names are in order.
        let first = (scope.target.namespace.clone(), prefix.clone());
        let of_release = self
            .secrets
            .range(first..)
            .take_while(|((namespace, name), _)| *namespace == scope.target.namespace && name.starts_with(&prefix));
        let mut found: Vec<(u64, &str, &str)> = of_release
            .filter_map(|((_, name), head)| match head {
                SecretHead::Release { data, status } => {
                    Some((name.strip_prefix(&prefix)?.parse().ok()?, data.as_str(), status.as_str()))
                }
                SecretHead::Keys { .. } => None,
            })
            .collect();
        found.sort();
        found
    }

    /// The live objects of a manifest, absent ones left out; asks the cluster where it names a kind that was not looked at.
    pub fn objects_of(&self, ctx: &Context, scope: &Scope, manifest: &str, wanted: &[Value]) -> Result<Vec<Value>> {
        let is_seen =
            |object: &Value| KINDS.iter().any(|(api, kind, _)| object["apiVersion"] == *api && object["kind"] == *kind);
        if !wanted.iter().all(is_seen) {
            return super::objects_of(ctx, scope, manifest);
        }
        let live = |object: &Value| {
            let own = object["metadata"]["namespace"].as_str().unwrap_or(&scope.target.namespace);
            let (kind, name) = identity(object);
            self.find(kind, Some(own), name).or_else(|| self.find(kind, None, name)).cloned()
        };
        Ok(wanted.iter().filter_map(live).collect())
    }

    fn find(&self, kind: Option<&str>, namespace: Option<&str>, name: Option<&str>) -> Option<&Value> {
        self.places.get(&place_of(kind, namespace, name)).map(|index| &self.objects[*index])
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }
}

fn place_of(kind: Option<&str>, namespace: Option<&str>, name: Option<&str>) -> [String; 3] {
    [kind, namespace, name].map(|part| part.unwrap_or_default().to_string())
}

/// The answer, or the last that was said without one.
fn ask<T>(ctx: &Context, call: Call<T>) -> Result<Result<T, String>> {
    match ctx.spawn.attempt(call.within(ANSWER)) {
        Ok(Ok(answer)) => Ok(Ok(answer)),
        Ok(Err(output)) => Ok(Err(output.tail.lines().last().unwrap_or_default().to_string())),
        Err(error) if is_deadline(&error) => Ok(Err(format!("nothing within {} s", ANSWER.as_secs()))),
        Err(error) => Err(error),
    }
}

fn is_deadline(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Stop>().is_some_and(|stop| stop.reason == Reason::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::Target;
    use serde_json::json;

    fn object(kind: &str, namespace: Option<&str>, name: &str) -> Value {
        json!({ "kind": kind, "metadata": { "name": name, "namespace": namespace } })
    }

    #[test]
    fn an_object_is_found_in_its_namespace_or_outside_of_all() {
        let objects = vec![
            object("Service", Some("theirs"), "web"),
            object("Service", Some("ours"), "web"),
            object("StorageClass", None, "web"),
            object("Namespace", None, "ours"),
        ];
        let seen = Snapshot::of(objects.clone(), BTreeMap::new());
        let find = |kind, namespace| seen.find(Some(kind), namespace, Some("web"));
        assert_eq!(find("Service", Some("ours")), Some(&objects[1]));
        assert_eq!(find("Service", Some("theirs")), Some(&objects[0]));
        assert_eq!(find("Service", Some("others")), None);
        assert_eq!(find("StorageClass", None), Some(&objects[2]));
        assert_eq!(seen.namespace("ours"), Some(&objects[3]));
        assert_eq!(seen.namespace("theirs"), None);
    }

    #[test]
    fn revisions_are_those_of_one_release_by_their_numbers() {
        let release = |namespace: &str, name: &str, status: &str| {
            let head = SecretHead::Release { data: String::new(), status: status.to_string() };
            ((namespace.to_string(), name.to_string()), head)
        };
        let secrets = [
            release("ours", "sh.helm.release.v1.web.v9", "superseded"),
            release("ours", "sh.helm.release.v1.web.v10", "deployed"),
            release("ours", "sh.helm.release.v1.web-more.v3", "failed"),
            release("ours", "sh.helm.release.v1.we.v3", "failed"),
            release("theirs", "sh.helm.release.v1.web.v11", "failed"),
        ];
        let target = Target { kubeconfig: String::new(), context: String::new(), namespace: "ours".to_string() };
        let seen = Snapshot::of(Vec::new(), secrets.into());
        let found = seen.revisions(&Scope { release: "web".to_string(), target });
        let found: Vec<(u64, &str)> = found.iter().map(|one| (one.number, one.status.as_str())).collect();
        assert_eq!(found, [(9, "superseded"), (10, "deployed")]);
    }
}
