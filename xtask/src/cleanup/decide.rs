//! What a clean-up may remove: images and folders of the project that are neither used nor wanted. What is not known
//! for certain to be the project's is foreign.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::image::Image;

/// The names that images of the project have.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The registry that exists nowhere, under which the base images are named.
    pub local: String,
    /// The repositories of the services of all profiles, with the names of the services that have them.
    pub services: BTreeMap<String, BTreeSet<String>>,
    /// As what base images and those of the control plane are labelled.
    pub bases: BTreeSet<String>,
}

/// What must stay.
#[derive(Clone, Debug, Default)]
pub struct Used {
    pub ids: BTreeSet<String>,
    pub references: BTreeSet<String>,
}

/// Something to be removed: a reference of an image, an image's ID where it has none, or a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    pub what: String,
    pub why: String,
    /// What goes with it; nothing for a name of an image that has another one.
    pub size_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    pub removals: Vec<Removal>,
    /// References, or paths, that are ours and stay.
    pub kept: BTreeSet<String>,
    /// How many are foreign.
    pub foreign: usize,
}

/// The tag of images that are there only until their archive is made.
const TRANSIENT: &str = "cluster";

/// Judges the images of the host's docker: of each repository the `keep` newest stay, and all that are used.
///
/// A label goes over to what others build upon an image, and a name may be given by hand: a service's image is ours when
/// the label, the name and the tag say so. Names under a registry that exists nowhere are ours by themselves.
pub fn judge_host(images: &[Image], names: &Names, used: &Used, keep: usize) -> Judged {
    let mut judged = Judged::default();
    let mut repositories: BTreeMap<&str, Vec<(&str, &Image)>> = BTreeMap::new();
    for image in images {
        let ours: Vec<&String> = image.references.iter().filter(|one| names.made(one, image)).collect();
        let nameless = image.references.is_empty() && image.label.as_ref().is_some_and(|label| names.labels(label));
        if ours.is_empty() && !nameless {
            judged.foreign += 1;
        } else if nameless && !used.ids.contains(&image.id) {
            let why = "a newer image took its tag".to_string();
            judged.removals.push(Removal { what: image.id.clone(), why, size_bytes: image.size_bytes });
        }
        for reference in ours {
            repositories.entry(split(reference).0).or_default().push((reference, image));
        }
    }
    for mut of_repository in repositories.into_values() {
        of_repository.sort_by(|(a, one), (b, other)| (&other.created, b).cmp(&(&one.created, a)));
        for (place, (reference, image)) in of_repository.into_iter().enumerate() {
            let transient = split(reference).1 == TRANSIENT;
            if used.has(reference, &image.id) || (place < keep && !transient) {
                judged.kept.insert(reference.to_string());
                continue;
            }
            let why = match (transient, keep) {
                (true, _) => "the cluster is made from its archive".to_string(),
                (false, 0) => "nothing uses it".to_string(),
                (false, _) => format!("nothing uses it, and {keep} newer ones stay"),
            };
            judged.removals.push(Removal { what: reference.to_string(), why, size_bytes: image.size_bytes });
        }
    }
    // A name that goes frees nothing as long as the image has another one.
    let going: BTreeSet<String> = judged.removals.iter().map(|removal| removal.what.clone()).collect();
    let mut counted = BTreeSet::new();
    for removal in &mut judged.removals {
        let image = images.iter().find(|one| one.id == removal.what || one.references.contains(&removal.what));
        let image = image.expect("what is removed is among the images");
        let whole = image.references.iter().all(|reference| going.contains(reference));
        if !whole || !counted.insert(&image.id) {
            removal.size_bytes = 0;
        }
    }
    judged
}

/// Judges the images of a node. It knows no labels, and holds only what this tool, kubelet and minikube brought to it: a
/// repository of ours with a tag as only this tool makes it is ours. What the host keeps, the node keeps.
///
/// Removing one name of an image there removes all of them: an image goes only when every name of it may.
pub fn judge_node(images: &[Image], names: &Names, used: &Used, kept_on_host: &BTreeSet<String>) -> Judged {
    let mut judged = Judged::default();
    for image in images {
        let ours = |reference: &&String| names.names(reference);
        let Some(first) = image.references.iter().find(ours) else {
            judged.foreign += 1;
            continue;
        };
        let stays = |reference: &String| {
            !names.names(reference) || kept_on_host.contains(reference) || used.has(reference, &image.id)
        };
        if image.pinned || image.references.iter().any(stays) {
            judged.kept.extend(image.references.iter().filter(ours).cloned());
            continue;
        }
        let why = "unused on the node and removed from the host".to_string();
        judged.removals.push(Removal { what: first.clone(), why, size_bytes: image.size_bytes });
    }
    judged
}

/// What the cache folder's content is judged by.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Paths, relative to the cache folder, that a recipe names, a link points at or a daemon calls.
    pub wanted: BTreeSet<String>,
    pub profiles: Vec<String>,
    /// The namespaces of the cluster; None if unknown.
    pub namespaces: Option<BTreeSet<String>>,
}

/// Judges paths, relative to the cache folder. The caller adds their sizes.
pub fn judge_cache(entries: &[String], folders: &Folders) -> Judged {
    let mut judged = Judged::default();
    for path in entries {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let why = match folder {
            _ if name.ends_with(".partial") || name.ends_with(".new") => Some("incomplete"),
            "go" | "cluster" | "packages" | "python" if is_keyed(name) && !folders.wanted.contains(path) => {
                Some("no recipe uses it any more")
            }
            "tools" if !folders.wanted.contains(path) => Some("no recipe uses it any more"),
            "staging" | "lint/staging" | "render/staging" => folders.left_by(name),
            _ => None,
        };
        match why {
            Some(why) => judged.removals.push(removal(path, why)),
            None => {
                judged.kept.insert(path.clone());
            }
        }
    }
    judged
}

/// Judges logs and the like by their age: paths, relative to the state folder, with the days since they were written.
pub fn judge_state(entries: &[(String, u64)], days_max: u64) -> Judged {
    let mut judged = Judged::default();
    for (path, days) in entries {
        match *days > days_max {
            true => judged.removals.push(removal(path, &format!("it is {days} days old"))),
            false => {
                judged.kept.insert(path.clone());
            }
        }
    }
    judged
}

/// Every image that an object, or a list of objects, names.
pub fn images_named(object: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![object];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("image").and_then(Value::as_str).map(|image| plain(image).to_string()));
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found
}

/// Bytes as megabytes, which have 1,000,000 of them.
pub fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

impl Names {
    /// Whether the name alone could be one that this tool gives.
    fn names(&self, reference: &str) -> bool {
        let (repository, tag) = split(reference);
        let local = repository.strip_prefix(&self.local).is_some_and(|rest| rest.starts_with('/'));
        match local {
            true => is_digest(tag) || tag == TRANSIENT,
            false => {
                self.services.contains_key(repository)
                    && tag.rsplit_once("-h").is_some_and(|(version, digest)| !version.is_empty() && is_digest(digest))
            }
        }
    }

    /// Whether an image of the host was made by this tool under this name.
    fn made(&self, reference: &str, image: &Image) -> bool {
        let labelled = |services: &BTreeSet<String>| image.label.as_ref().is_some_and(|label| services.contains(label));
        self.names(reference) && self.services.get(split(reference).0).is_none_or(labelled)
    }

    fn labels(&self, label: &str) -> bool {
        self.bases.contains(label) || self.services.values().any(|services| services.contains(label))
    }
}

impl Used {
    fn has(&self, reference: &str, id: &str) -> bool {
        self.references.contains(reference) || self.ids.contains(id)
    }
}

impl Folders {
    /// Why a staging folder, named `PROFILE-NAMESPACE`, is of no more use; both names may hold hyphens.
    fn left_by(&self, name: &str) -> Option<&'static str> {
        let mut namespaces =
            self.profiles.iter().filter_map(|profile| name.strip_prefix(profile)?.strip_prefix('-')).peekable();
        if namespaces.peek().is_none() {
            return Some("its profile is gone");
        }
        let there = self.namespaces.as_ref()?;
        namespaces.all(|namespace| !there.contains(namespace)).then_some("its namespace is gone")
    }
}

fn removal(path: &str, why: &str) -> Removal {
    Removal { what: path.to_string(), why: why.to_string(), size_bytes: 0 }
}

/// Repository and tag; the colon of a registry's port is no tag's.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, ""),
    }
}

/// As docker writes a name: without the registry that it takes for granted.
fn plain(reference: &str) -> &str {
    reference.strip_prefix("docker.io/library/").unwrap_or(reference)
}

fn is_digest(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `NAME-DIGEST`, or a digest alone.
fn is_keyed(name: &str) -> bool {
    is_digest(name.rsplit_once('-').map_or(name, |(_, digest)| digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let services = [("backend", "backend"), ("minikube.local/page", "frontend")];
        let services =
            services.map(|(repository, service)| (repository.to_string(), BTreeSet::from([service.to_string()])));
        Names { local: "todo.local".into(), services: services.into(), bases: ["debian".to_string()].into() }
    }

    /// An image with one name, made on a day.
    fn image(reference: &str, label: Option<&str>, day: u32) -> Image {
        let references = if reference.is_empty() { Vec::new() } else { vec![reference.to_string()] };
        let (label, created) = (label.map(str::to_string), format!("2026-01-{day:02}T00:00:00Z"));
        Image { id: format!("sha256:{reference}{day}"), references, label, created, size_bytes: 7, pinned: false }
    }

    fn tag(digit: u32) -> String {
        format!("0.1.0-h{}", digit.to_string().repeat(12))
    }

    fn backend(digit: u32) -> Image {
        image(&format!("backend:{}", tag(digit)), Some("backend"), digit)
    }

    fn whats(judged: &Judged) -> Vec<&str> {
        judged.removals.iter().map(|removal| removal.what.as_str()).collect()
    }

    fn used(references: &[&str]) -> Used {
        Used { references: references.iter().map(|one| one.to_string()).collect(), ..Used::default() }
    }

    #[test]
    fn of_each_repository_the_newest_stay_and_what_is_used() {
        let page = image(&format!("minikube.local/page:{}", tag(1)), Some("frontend"), 1);
        let images = [backend(3), backend(1), page, backend(4), backend(2), backend(5)];
        let judged = judge_host(&images, &names(), &used(&[]), 2);
        assert_eq!(whats(&judged), [&images[0], &images[4], &images[1]].map(|image| image.references[0].as_str()));
        assert!(judged.removals.iter().all(|one| one.why.contains("2 newer ones stay") && one.size_bytes == 7));
        assert_eq!((judged.kept.len(), judged.foreign), (3, 0));
        // By its name, as a workload has it, or by its ID, as a container has it.
        let mut by_both = used(&[&images[1].references[0]]);
        by_both.ids.insert(images[4].id.clone());
        assert_eq!(whats(&judge_host(&images, &names(), &by_both, 2)), [images[0].references[0].as_str()]);
        assert_eq!(judge_host(&images, &names(), &used(&[]), 0).removals.len(), 6);
    }

    #[test]
    fn what_others_made_is_left_alone() {
        for (reference, label) in [
            ("debian:bookworm", None),
            // Built upon an image of ours: the label came along.
            ("mine:1", Some("backend")),
            ("mine:0.1.0-h111111111111", Some("debian")),
            // The names of ours, given by hand or by another project.
            ("backend:latest", Some("backend")),
            ("backend:0.1.0-h111111111111", None),
            ("backend:0.1.0-h111111111111", Some("frontend")),
            ("backend:0.1.0-h11111111111", Some("backend")),
            ("backend:-h111111111111", Some("backend")),
            ("todo.local/node:mine", Some("node")),
            ("todo.localhost/node:111111111111", Some("node")),
            ("other.local/node:111111111111", Some("node")),
            ("localhost:5000/backend", Some("backend")),
            ("", None),
            ("", Some("somebody's")),
        ] {
            let judged = judge_host(&[image(reference, label, 1)], &names(), &used(&[]), 0);
            assert_eq!(judged, Judged { foreign: 1, ..Judged::default() }, "{reference} {label:?}");
        }
    }

    #[test]
    fn base_images_are_ours_by_name_and_those_of_the_control_plane_do_not_last() {
        let base = |tag: &str, day| image(&format!("todo.local/debian:{tag}"), None, day);
        let images = [base(&"1".repeat(12), 1), base(&"2".repeat(12), 2), image("todo.local/etcd:cluster", None, 3)];
        let judged = judge_host(&images, &names(), &used(&[]), 1);
        assert_eq!(whats(&judged), ["todo.local/debian:111111111111", "todo.local/etcd:cluster"]);
    }

    #[test]
    fn what_lost_its_name_goes_unless_a_container_runs_it() {
        let nameless = image("", Some("debian"), 1);
        let judged = judge_host(std::slice::from_ref(&nameless), &names(), &used(&[]), 2);
        assert_eq!(whats(&judged), [nameless.id.as_str()]);
        let runs = Used { ids: [nameless.id.clone()].into(), ..Used::default() };
        let judged = judge_host(&[nameless], &names(), &runs, 2);
        assert_eq!((judged.removals.len(), judged.foreign), (0, 0));
    }

    #[test]
    fn an_image_is_freed_once_and_only_with_its_last_name() {
        let mut two = backend(1);
        two.references.push(format!("backend:{}", tag(2)));
        let judged = judge_host(std::slice::from_ref(&two), &names(), &used(&[]), 0);
        assert_eq!(judged.removals.iter().map(|one| one.size_bytes).collect::<Vec<_>>(), [7, 0]);
        two.references.push("mine:1".to_string());
        let judged = judge_host(&[two], &names(), &used(&[]), 0);
        assert_eq!(judged.removals.iter().map(|one| one.size_bytes).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn a_node_keeps_what_runs_and_what_the_host_keeps() {
        let plain = |digit| Image { label: None, created: String::new(), ..backend(digit) };
        let public = image("registry.k8s.io/etcd:3.5.21-0", None, 1);
        let by_hand = image("backend:latest", None, 1);
        let images = [plain(1), plain(2), plain(3), public, by_hand, image("", None, 1)];
        let host = BTreeSet::from([images[2].references[0].clone()]);
        let judged = judge_node(&images, &names(), &used(&[&images[1].references[0]]), &host);
        assert_eq!(whats(&judged), [images[0].references[0].as_str()]);
        assert_eq!((judged.foreign, judged.kept.len()), (3, 2));
    }

    #[test]
    fn an_image_stays_on_a_node_for_any_of_its_names() {
        let with =
            |other: &str| Image { references: vec![backend(1).references[0].clone(), other.into()], ..backend(1) };
        let second = format!("backend:{}", tag(2));
        for (image, judged_used) in
            [(with("mine:1"), used(&[])), (with(&second), used(&[&second])), (with(&second), used(&[]))]
        {
            let goes = image.references[1] == second && judged_used.references.is_empty();
            let judged = judge_node(std::slice::from_ref(&image), &names(), &judged_used, &BTreeSet::new());
            assert_eq!(judged.removals.len(), usize::from(goes), "{image:?}");
        }
        let pinned = Image { pinned: true, ..backend(1) };
        assert!(judge_node(&[pinned], &names(), &used(&[]), &BTreeSet::new()).removals.is_empty());
    }

    #[test]
    fn of_the_cache_only_what_can_have_no_use_goes() {
        let (new, old) = ("aaaaaaaaaaaa", "bbbbbbbbbbbb");
        let folders = Folders {
            wanted: [
                format!("go/helm-{new}"),
                format!("cluster/{new}"),
                format!("python/hadolint-{new}"),
                format!("packages/axe-core-{new}"),
                "tools/helm-3.22.0".to_string(),
            ]
            .into(),
            profiles: vec!["dev".into(), "dev-two".into()],
            namespaces: Some(["todo".to_string(), "two-todo".to_string()].into()),
        };
        for (path, goes) in [
            (format!("go/helm-{new}"), false),
            (format!("go/helm-{old}"), true),
            (format!("go/runc-shim-{old}"), true),
            ("go/mine".to_string(), false),
            (format!("cluster/{new}"), false),
            (format!("cluster/{old}"), true),
            (format!("python/hadolint-{old}"), true),
            (format!("packages/axe-core-{new}"), false),
            (format!("packages/axe-core-{old}"), true),
            ("tools/helm-3.22.0".to_string(), false),
            ("tools/helm-3.21.0".to_string(), true),
            (format!("openapi/{old}"), false),
            ("node.partial".to_string(), true),
            (format!("go/helm-{new}.partial"), true),
            ("bin/docker.new".to_string(), true),
            ("bin/docker".to_string(), false),
            ("staging/dev-todo".to_string(), false),
            ("staging/dev-gone".to_string(), true),
            // Of the profile dev, in two-todo, or of dev-two, in todo: one of them is there.
            ("staging/dev-two-todo".to_string(), false),
            ("lint/staging/old-todo".to_string(), true),
            ("lint".to_string(), false),
        ] {
            let judged = judge_cache(std::slice::from_ref(&path), &folders);
            assert_eq!(judged.removals.len(), usize::from(goes), "{path}");
        }
        let unknown = Folders { namespaces: None, ..folders };
        assert!(judge_cache(&["staging/dev-gone".to_string()], &unknown).removals.is_empty());
    }

    #[test]
    fn logs_go_by_their_age() {
        let judged = judge_state(&[("logs/a".into(), 14), ("logs/b".into(), 15)], 14);
        assert_eq!(whats(&judged), ["logs/b"]);
    }

    #[test]
    fn images_are_found_wherever_an_object_names_them() {
        let object = serde_json::json!({"items": [
            {"spec": {"template": {"spec": {"initContainers": [{"image": "a:1"}], "containers": [{"image": "docker.io/library/b:2"}]}}}},
            {"data": {"spec": {"template": {"spec": {"containers": [{"image": "c:3"}]}}}}},
            {"status": {"containerStatuses": [{"image": "d:4", "imageID": "sha256:1"}]}},
        ]});
        let named: Vec<String> = images_named(&object).into_iter().collect();
        assert_eq!(named, ["a:1", "b:2", "c:3", "d:4"]);
    }
}
