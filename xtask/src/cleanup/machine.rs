//! What of a machine is ours to take away, and what has to stay, decided over what was seen.

use std::collections::BTreeSet;

use crate::cleanup::decide::Removal;

/// What was seen, as far as it decides something.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub docker_answers: bool,
    /// The cluster's name, if there is a node of it, or minikube's description of one.
    pub cluster: Option<String>,
    /// Containers of ours that are no node.
    pub containers: Vec<String>,
    pub images: Vec<Removal>,
    /// Images of ours that containers of others were made from.
    pub images_in_use: usize,
    pub foreign_images: usize,
    pub foreign_containers: usize,
    /// Those of them that run.
    pub foreign_running: usize,
    /// In docker's words; None where there is none.
    pub build_cache: Option<String>,
    /// The daemon that bootstrap started, if it still runs.
    pub daemon: Option<u32>,
    /// The daemon that answers runs containers with a shim that lies in the cache folder.
    pub runs_on_shim: bool,
    /// The packages that bootstrap installed, if they are still there.
    pub packages: Vec<String>,
    /// What others installed and a removal of these would take along.
    pub dragged_along: BTreeSet<String>,
    /// Cache folder and state folder with their sizes, as far as they are there.
    pub cache: Option<u64>,
    pub state: Option<u64>,
}

/// Something to be taken away.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Cluster(String),
    Container(String),
    Image(Removal),
    BuildCache(String),
    Daemon(u32),
    Packages(Vec<String>),
    Cache(u64),
    State(u64),
}

/// The parts in the order in which they go, each before what its removal needs, and what stays, with the reason.
pub fn plan(seen: &Machine) -> (Vec<Part>, Vec<String>) {
    let (mut parts, mut left) = (Vec::new(), Vec::new());
    // Without docker the node may still exist, and its keys are in the state folder.
    let unreachable = seen.cluster.as_ref().filter(|_| !seen.docker_answers);
    if let Some(name) = unreachable {
        left.push(format!(
            "the cluster {name} with its keys, and images: docker does not answer; start it, then again"
        ));
    }
    if seen.docker_answers {
        parts.extend(seen.cluster.clone().map(Part::Cluster));
        parts.extend(seen.containers.iter().cloned().map(Part::Container));
        parts.extend(seen.images.iter().cloned().map(Part::Image));
        if seen.images_in_use > 0 {
            left.push(format!("{} that containers of others are made from", count(seen.images_in_use, "image")));
        }
    }
    let own_docker = seen.daemon.is_some() || seen.packages.iter().any(|name| DOCKER.contains(&name.as_str()));
    let alone = seen.foreign_images == 0 && seen.foreign_containers == 0 && seen.images_in_use == 0;
    if let Some(size) = &seen.build_cache {
        match own_docker && alone {
            true => parts.push(Part::BuildCache(size.clone())),
            false => left.push(format!("docker's build cache, {size}, which names no owner: docker builder prune")),
        }
    }
    let running =
        (seen.foreign_running > 0).then(|| format!("{} of others run on it", count(seen.foreign_running, "container")));
    match (seen.daemon, &running) {
        (Some(pid), None) => parts.push(Part::Daemon(pid)),
        (Some(_), Some(why)) => left.push(format!("the docker daemon: {why}")),
        (None, _) if seen.runs_on_shim => {
            left.push("the docker daemon: nothing says that bootstrap started it; end it, then again".to_string());
        }
        (None, _) => {}
    }
    let before = left.len();
    match (&seen.packages[..], &running) {
        ([], _) => {}
        (packages, Some(why)) if own_docker => {
            left.push(format!("the Debian packages {}: {why}", packages.join(", ")));
        }
        (packages, _) if !seen.dragged_along.is_empty() => {
            let others = seen.dragged_along.iter().cloned().collect::<Vec<_>>().join(", ");
            left.push(format!("the Debian packages {}: {others} would go with them", packages.join(", ")));
        }
        (packages, _) => parts.push(Part::Packages(packages.to_vec())),
    }
    let packages_stay = left.len() > before;
    // A shim in the cache is what a daemon that goes on runs containers with.
    let shim =
        (seen.daemon.is_some() || seen.runs_on_shim) && !parts.iter().any(|part| matches!(part, Part::Daemon(_)));
    match seen.cache {
        Some(_) if shim => left.push("the cache folder: the docker daemon uses what is in it".to_string()),
        Some(size) => parts.push(Part::Cache(size)),
        None => {}
    }
    // The state folder records what bootstrap did.
    match unreachable.is_some() || shim || packages_stay {
        true => left.push("the state folder: it is needed for what stays".to_string()),
        false => parts.extend(seen.state.map(Part::State)),
    }
    (parts, left)
}

/// The packages without which no daemon runs.
const DOCKER: [&str; 3] = ["containerd", "docker.io", "runc"];

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Removal {
        Removal { what: "a:1".into(), why: String::new(), size_bytes: 3 }
    }

    /// A machine on which everything is ours.
    fn own() -> Machine {
        Machine {
            docker_answers: true,
            cluster: Some("todo".into()),
            containers: vec!["todo-validate-1".into()],
            images: vec![image()],
            build_cache: Some("2GB".into()),
            daemon: Some(42),
            runs_on_shim: true,
            packages: vec!["docker.io".into(), "mmdebstrap".into()],
            cache: Some(1),
            state: Some(2),
            ..Machine::default()
        }
    }

    fn all() -> Vec<Part> {
        vec![
            Part::Cluster("todo".into()),
            Part::Container("todo-validate-1".into()),
            Part::Image(image()),
            Part::BuildCache("2GB".into()),
            Part::Daemon(42),
            Part::Packages(vec!["docker.io".into(), "mmdebstrap".into()]),
            Part::Cache(1),
            Part::State(2),
        ]
    }

    fn without(gone: &[usize]) -> Vec<Part> {
        all().into_iter().enumerate().filter(|(place, _)| !gone.contains(place)).map(|(_, part)| part).collect()
    }

    #[test]
    fn what_is_ours_goes_and_what_it_needs_goes_after_it() {
        assert_eq!(plan(&own()), (all(), Vec::new()));
        assert_eq!(plan(&Machine::default()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_was_there_before_stays() {
        let before = Machine { daemon: None, runs_on_shim: false, packages: Vec::new(), ..own() };
        let (parts, left) = plan(&before);
        assert_eq!(parts, without(&[3, 4, 5]));
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].contains("build cache, 2GB"), "{left:?}");
    }

    #[test]
    fn others_keep_what_they_use() {
        // (what others have, the parts that stay, what is said of it)
        for (seen, stays, message) in [
            (Machine { foreign_images: 1, ..own() }, &[3][..], "build cache"),
            (Machine { foreign_containers: 1, ..own() }, &[3], "build cache"),
            (Machine { images_in_use: 1, ..own() }, &[3], "1 image that containers of others"),
            (
                Machine { foreign_containers: 2, foreign_running: 2, ..own() },
                &[3, 4, 5, 6, 7],
                "the docker daemon: 2 containers of others run on it",
            ),
            (
                Machine { dragged_along: ["docker-compose".to_string()].into(), ..own() },
                &[5, 7],
                "docker.io, mmdebstrap: docker-compose would go with them",
            ),
        ] {
            let (parts, left) = plan(&seen);
            assert_eq!(parts, without(stays), "{message}");
            assert!(left.iter().any(|line| line.contains(message)), "{message}: {left:?}");
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_reached_keeps_its_keys() {
        let seen = Machine { docker_answers: false, daemon: None, runs_on_shim: false, build_cache: None, ..own() };
        let (parts, left) = plan(&seen);
        assert_eq!(parts, without(&[0, 1, 2, 3, 4, 7]));
        assert!(left[0].contains("docker does not answer"), "{left:?}");
        // Where there is no sign of a cluster, nothing is lost with the folders.
        let (parts, _) = plan(&Machine { cluster: None, ..seen });
        assert_eq!(parts, without(&[0, 1, 2, 3, 4]));
    }

    #[test]
    fn a_daemon_that_nobody_noted_keeps_the_shim_that_it_runs_on() {
        let (parts, left) = plan(&Machine { daemon: None, packages: Vec::new(), ..own() });
        assert_eq!(parts, without(&[3, 4, 5, 6, 7]));
        assert!(left.iter().any(|line| line.contains("nothing says that bootstrap started it")), "{left:?}");
    }

    #[test]
    fn packages_that_are_no_docker_go_while_others_use_docker() {
        let seen = Machine { daemon: None, packages: vec!["mmdebstrap".into()], foreign_running: 1, ..own() };
        assert!(plan(&seen).0.contains(&Part::Packages(vec!["mmdebstrap".into()])));
    }
}
