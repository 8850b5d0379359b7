//! Minikube. Every call names the profile.

use crate::config::Cluster;
use crate::run::call::{Call, argv, call};

pub fn start_help() -> Call {
    call(argv!("minikube start --help"))
}

/// The flags of `start` that are in use here.
pub fn has_flags(help: &str) -> bool {
    ["--base-image", "--ports", "--cni", "--preload", "--container-runtime"].iter().all(|flag| help.contains(flag))
}

pub fn version() -> Call {
    call(argv!("minikube version --short")).trimmed()
}

/// Which ports of 127.0.0.1 lead to nodes that minikube makes from now on.
#[derive(Clone, Copy, PartialEq)]
pub enum Published {
    /// Those of the configuration: the first node's.
    NodePorts,
    /// None, as minikube would publish the same for each node.
    Nothing,
}

/// Makes the first node, or starts all of them where they are stopped. `node_image` is one of our own, where kicbase can't be
/// had.
pub fn start(cluster: &Cluster, node_image: Option<&str>, published: Published, root: bool) -> Call {
    let Cluster { name, driver, runtime, kubernetes, node_ports, .. } = cluster;
    let (cpus, memory) = (cluster.cpus.to_string(), cluster.memory_mb.to_string());
    let ports = match published {
        Published::NodePorts => format!("--ports=127.0.0.1:{0}-{1}:{0}-{1}", node_ports.first, node_ports.last),
        Published::Nothing => "--ports=".to_string(),
    };
    let cni = match (cluster.nodes, node_image) {
        (1, _) => "bridge",
        // A bridge ends at its node.
        (_, None) => "kindnet",
        // Flannel comes from us.
        (_, Some(_)) => "false",
    };
    // A scheduler that overlooks a bound claim would ask again after five minutes: `diagnosis::release` says why.
    let mut more = vec!["--extra-config=scheduler.pod-max-in-unschedulable-pods-duration=10s".to_string()];
    if let Some(image) = node_image {
        more.push(format!("--base-image={image}"));
        more.push("--preload=false".to_string());
        // A kubeadm built with Go 1.25.2 or later rejects its own https://[10.96.0.1] in a preflight check.
        more.push("--extra-config=kubeadm.ignore-preflight-errors=HTTPProxyCIDR".to_string());
    }
    if root {
        // The docker driver refuses root without it.
        more.push("--force".to_string());
    }
    call(argv!(
        "minikube start --profile {name} --driver {driver} --container-runtime {runtime} --kubernetes-version v{kubernetes} --cpus {cpus} --memory {memory} --cni {cni} {ports} --wait apiserver,system_pods,default_sa,kubelet --interactive=false --delete-on-failure=false {more...}"
    ))
}

/// Adds a node to a cluster that serves. Its memory comes from MINIKUBE_MEMORY: there is no flag for it.
pub fn add_node(name: &str) -> Call {
    call(argv!("minikube node add --profile {name}"))
}

/// Loads an image of the host's docker into the nodes, in minikube's own way.
pub fn load_image(name: &str, image: &str) -> Call {
    call(argv!("minikube image load {image} --profile {name}"))
}

/// Turns an addon on. `image` is minikube's name for the addon's image with one of our own, as registry, name and tag.
pub fn enable_addon(name: &str, addon: &str, image: Option<(&str, &str, &str)>) -> Call {
    let more: Vec<String> = image
        .map(|(part, registry, image)| [format!("--images={part}={image}"), format!("--registries={part}={registry}")])
        .into_iter()
        .flatten()
        .collect();
    call(argv!("minikube addons enable {addon} --profile {name} {more...}"))
}

/// Writes where the cluster is reached into the kubeconfig, all of it where it is gone.
pub fn update_context(name: &str) -> Call {
    call(argv!("minikube update-context --profile {name}"))
}

/// Whether the API server is paused, by what `status` printed: one object, or a list of nodes.
pub fn is_paused(status: &str) -> bool {
    let value: serde_json::Value = serde_json::from_str(status).unwrap_or_default();
    let nodes = value.as_array().cloned().unwrap_or_else(|| vec![value]);
    nodes.iter().any(|node| node["APIServer"] == "Paused")
}

/// Lets the paused containers of a cluster go on.
pub fn unpause(name: &str) -> Call {
    call(argv!("minikube unpause --profile {name}"))
}

/// Pauses the containers of a cluster's own namespaces, and kubelet.
pub fn pause(name: &str) -> Call {
    call(argv!("minikube pause --profile {name}"))
}

pub fn delete(name: &str) -> Call {
    call(argv!("minikube delete --profile {name}"))
}

/// Routes to the cluster's Services for as long as it runs, and gives LoadBalancers their addresses.
pub fn tunnel(profile: &str) -> Call {
    call(argv!("minikube tunnel --profile {profile} --cleanup"))
}

/// All profiles with what they were made of, as JSON.
pub fn profiles() -> Call {
    call(argv!("minikube profile list --output json"))
}

/// Host, kubelet and API server of a profile, as JSON; fails where not all of them run.
pub fn status(profile: &str) -> Call {
    call(argv!("minikube status --profile {profile} --output json"))
}

pub fn ip(profile: &str) -> Call {
    call(argv!("minikube ip --profile {profile}")).trimmed()
}

/// The URLs of a Service, one to a line.
pub fn service_url(profile: &str, namespace: &str, service: &str) -> Call<Vec<String>> {
    call(argv!("minikube service {service} --url --namespace {namespace} --profile {profile} --wait 2 --interval 1"))
        .lines()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NodePorts;

    fn cluster() -> Cluster {
        Cluster {
            name: "todo".into(),
            driver: "docker".into(),
            runtime: "containerd".into(),
            kubernetes: "1.33.1".into(),
            nodes: 1,
            cpus: 2,
            memory_mb: 4096,
            disk_free_mb: 0,
            node_ports: NodePorts { first: 30080, last: 30089 },
            addons: Vec::new(),
        }
    }

    #[test]
    fn force_is_for_root_only() {
        let forces = |root| start(&cluster(), None, Published::NodePorts, root).argv.contains(&"--force".to_string());
        assert!(forces(true) && !forces(false));
    }

    #[test]
    fn an_addon_gets_an_image_of_our_own_only_where_there_is_one() {
        let image = Some(("MetricsServer", "todo.local", "metrics-server:1"));
        assert_eq!(
            enable_addon("todo", "metrics-server", image).text(),
            "minikube addons enable metrics-server --profile todo --images=MetricsServer=metrics-server:1 \
             --registries=MetricsServer=todo.local"
        );
        let plain = enable_addon("todo", "ingress", None).text();
        assert_eq!(plain, "minikube addons enable ingress --profile todo");
    }

    #[test]
    fn an_own_node_image_comes_with_what_it_needs() {
        let start = |image| start(&cluster(), image, Published::NodePorts, false).text();
        let text = start(Some("local/node:1"));
        assert!(text.contains("--base-image=local/node:1 --preload=false"), "{text}");
        assert!(text.contains("--ports=127.0.0.1:30080-30089:30080-30089"), "{text}");
        assert!(text.contains("--kubernetes-version v1.33.1 --cpus 2 --memory 4096"), "{text}");
        assert!(!start(None).contains("--base-image"));
    }

    #[test]
    fn more_than_one_node_share_a_network_and_the_first_has_the_ports() {
        let cluster = Cluster { nodes: 2, ..cluster() };
        let start = |image, published| start(&cluster, image, published, false).text();
        let text = start(Some("local/node:1"), Published::NodePorts);
        assert!(text.contains("--cni false --ports=127.0.0.1:30080-30089:30080-30089"), "{text}");
        assert!(
            start(None, Published::Nothing).contains("--cni kindnet --ports= --wait"),
            "no port is published twice"
        );
    }

    #[test]
    fn a_paused_api_server_is_read_from_the_status() {
        assert!(is_paused(r#"{"Name":"todo","Host":"Running","Kubelet":"Stopped","APIServer":"Paused"}"#));
        assert!(is_paused(r#"[{"APIServer":"Running"},{"APIServer":"Paused"}]"#));
        assert!(!is_paused(r#"{"APIServer":"Running"}"#) && !is_paused("") && !is_paused("no JSON"));
    }
}
