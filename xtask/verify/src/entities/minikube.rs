//! The cluster, as minikube tells it.

use std::fmt;
use std::net::IpAddr;

use semver::Version;
use serde_json::Value;

use crate::entities::version::parse_version;
use xtask::model::object::{Fields, one_of, read};

#[derive(Clone, Debug, PartialEq)]
pub struct MinikubeCluster {
    pub name: String,
    pub cpus: u64,
    /// Mebibytes, as minikube counts them.
    pub memory_mb: u64,
    pub driver: Driver,
    pub kubernetes: Version,
    pub status: Status,
    /// Of the control plane; None before the first start.
    pub ip: Option<IpAddr>,
    /// Those that are enabled, sorted.
    pub addons: Vec<String>,
    pub nodes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Docker,
    Podman,
    VirtualBox,
    Kvm2,
    Qemu2,
    HyperV,
    HyperKit,
    VfKit,
    Parallels,
    VmWare,
    Ssh,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Running,
    Starting,
    Stopping,
    Stopped,
    Paused,
    /// It runs, and parts of it don't.
    Degraded,
    Nonexistent,
    Error,
}

impl MinikubeCluster {
    /// An entry of `valid` in `minikube profile list --output json`.
    pub fn from_profile(profile: &Value) -> Result<MinikubeCluster, Vec<String>> {
        read(profile, |f| {
            let config = f.at("Config");
            let name = f.at("Name").text();
            let cpus = config.at("CPUs").integer(1..=4096);
            let memory_mb = config.at("Memory").integer(1..=16_777_216);
            let driver = config.at("Driver").parsed(Driver::parse);
            let kubernetes = config
                .at("KubernetesConfig")
                .at("KubernetesVersion")
                .parsed(|text| parse_version(text.strip_prefix('v').unwrap_or(text)));
            let status = f.at("Status").parsed(Status::parse);
            let nodes = config.at("Nodes").items();
            let leads = |node: &&Fields| node.at("ControlPlane").value == &Value::Bool(true);
            let ip = match nodes.iter().find(leads).map(|node| node.at("IP")) {
                Some(ip) if ip.value.as_str().is_some_and(|text| !text.is_empty()) => ip.parsed(address).map(Some),
                _ => Some(None),
            };
            let addons = config.at("Addons");
            let addons = addons.value.as_object().into_iter().flatten().filter(|(_, on)| **on == Value::Bool(true));
            let addons = addons.map(|(name, _)| name.clone()).collect();
            Some(MinikubeCluster {
                name: name?,
                cpus: cpus?,
                memory_mb: memory_mb?,
                driver: driver?,
                kubernetes: kubernetes?,
                status: status?,
                ip: ip?,
                addons,
                nodes: nodes.len(),
            })
        })
    }

    /// The profile named so in all that `minikube profile list --output json` printed; None where there is no such one.
    pub fn find(list: &Value, name: &str) -> Option<Result<MinikubeCluster, Vec<String>>> {
        let profiles = list["valid"].as_array()?;
        profiles.iter().find(|profile| profile["Name"] == name).map(MinikubeCluster::from_profile)
    }
}

impl Driver {
    /// `kvm` and `qemu` are what minikube calls kvm2 and qemu2 too.
    pub fn parse(text: &str) -> Result<Driver, String> {
        let known = [
            ("docker", Driver::Docker),
            ("podman", Driver::Podman),
            ("virtualbox", Driver::VirtualBox),
            ("kvm2", Driver::Kvm2),
            ("kvm", Driver::Kvm2),
            ("qemu2", Driver::Qemu2),
            ("qemu", Driver::Qemu2),
            ("hyperv", Driver::HyperV),
            ("hyperkit", Driver::HyperKit),
            ("vfkit", Driver::VfKit),
            ("parallels", Driver::Parallels),
            ("vmware", Driver::VmWare),
            ("ssh", Driver::Ssh),
            ("none", Driver::None),
        ];
        one_of(text, &known)
    }
}

impl Status {
    /// The word of `profile list`, where OK is a cluster that runs, or a word of the data models.
    pub fn parse(text: &str) -> Result<Status, String> {
        let known = [
            ("Running", Status::Running),
            ("OK", Status::Running),
            ("Starting", Status::Starting),
            ("Stopping", Status::Stopping),
            ("Stopped", Status::Stopped),
            ("Paused", Status::Paused),
            ("Pausing", Status::Paused),
            ("Unpausing", Status::Starting),
            ("Warning", Status::Degraded),
            ("Degraded", Status::Degraded),
            ("Unreachable", Status::Degraded),
            ("InsufficientStorage", Status::Degraded),
            ("HAppy", Status::Running),
            ("Nonexistent", Status::Nonexistent),
            ("Error", Status::Error),
            ("Unknown", Status::Error),
            ("Configured", Status::Stopped),
        ];
        one_of(text, &known)
    }

    /// From what `minikube status --output json` prints of one node: its host, kubelet and API server, each by itself.
    /// How the kubeconfig is named isn't the cluster's business.
    pub fn from_parts(status: &Value) -> Result<Status, Vec<String>> {
        read(status, |f| {
            let part = |key: &str| f.at(key).parsed(Status::parse);
            let (host, kubelet, server) = (part("Host"), part("Kubelet"), part("APIServer"));
            let (host, kubelet, server) = (host?, kubelet?, server?);
            Some(match (host, kubelet, server) {
                (Status::Running, Status::Running, Status::Running) => Status::Running,
                (Status::Running, _, Status::Paused) => Status::Paused,
                (Status::Running, _, _) => Status::Degraded,
                (host, _, _) => host,
            })
        })
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not an IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The cluster of docs/specs/microservices.md, in the shape that minikube 1.36 prints.
    fn profile() -> Value {
        json!({"Name": "todo-chatbot", "Status": "OK", "Config": {
            "Name": "todo-chatbot", "Memory": 4096, "CPUs": 2, "Driver": "docker",
            "KubernetesConfig": {"KubernetesVersion": "v1.28.3", "ContainerRuntime": "containerd"},
            "Nodes": [{"Name": "", "IP": "192.168.49.2", "Port": 8443, "ControlPlane": true, "Worker": true}],
            "Addons": {"metrics-server": true, "dashboard": false, "default-storageclass": true}}})
    }

    #[test]
    fn the_specs_cluster_is_read() {
        let list = json!({"invalid": [], "valid": [profile()]});
        let read = MinikubeCluster::find(&list, "todo-chatbot").unwrap().unwrap();
        assert_eq!((read.cpus, read.memory_mb, read.driver), (2, 4096, Driver::Docker));
        assert_eq!((read.kubernetes.to_string().as_str(), read.status), ("1.28.3", Status::Running));
        assert_eq!(read.ip, Some("192.168.49.2".parse().unwrap()));
        assert_eq!(read.addons, ["default-storageclass", "metrics-server"]);
        assert!(MinikubeCluster::find(&list, "other").is_none());
    }

    #[test]
    fn the_specs_drivers_and_states_are_known() {
        for driver in ["docker", "virtualbox", "kvm2"] {
            assert_eq!(Driver::parse(driver).unwrap().to_string(), driver);
        }
        for status in ["Running", "Stopped", "Paused"] {
            assert_eq!(Status::parse(status).unwrap().to_string(), status);
        }
    }

    #[test]
    fn the_parts_of_a_node_make_its_state() {
        let of = |host: &str, kubelet: &str, server: &str| {
            Status::from_parts(
                &json!({"Name": "a", "Host": host, "Kubelet": kubelet, "APIServer": server, "Kubeconfig": "Misconfigured"}),
            )
        };
        assert_eq!(of("Running", "Running", "Running"), Ok(Status::Running));
        assert_eq!(of("Running", "Stopped", "Paused"), Ok(Status::Paused));
        assert_eq!(of("Running", "Running", "Stopped"), Ok(Status::Degraded));
        assert_eq!(of("Stopped", "Stopped", "Stopped"), Ok(Status::Stopped));
        assert_eq!(of("Gone", "", "Running").unwrap_err().len(), 2);
    }

    #[test]
    fn illegal_clusters_are_refused() {
        for (path, value) in [
            ("/Config/CPUs", json!(0)),
            ("/Config/Memory", json!("4096")),
            ("/Config/Driver", json!("vagrant")),
            ("/Config/KubernetesConfig/KubernetesVersion", json!("1.28")),
            ("/Config/Nodes/0/IP", json!("192.168.49")),
            ("/Status", json!("Fine")),
        ] {
            let mut profile = profile();
            *profile.pointer_mut(path).unwrap() = value;
            assert_eq!(MinikubeCluster::from_profile(&profile).unwrap_err().len(), 1, "{path}");
        }
    }
}
