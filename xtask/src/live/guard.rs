//! Refuses to modify any cluster other than the one this tool created, or the target that the command line chose: before
//! helm or kubectl changes anything, the kubeconfig of the call is compared with the node that docker runs, or with what
//! the target is known by.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::config::{Config, yaml};
use crate::live::pinned;
use crate::run::call::display;
use crate::run::context::Folders;
use crate::run::exit::Stop;
use crate::run::process::{Guard, Spawn};
use crate::tools::{docker, helm, kubectl};

/// Many ports are forwarded at once, one for each service that is checked: docker is asked once for all of them.
const LATELY: Duration = Duration::from_secs(1);

/// A guard that refuses calls which would change a cluster other than our minikube profile, or than the target where one was
/// chosen.
pub fn guard(folders: &Folders, root: &Path, config: &Config) -> Box<Guard> {
    if let Some(expected) = pinned::Expected::of(folders, root, config) {
        // Who vouches for the server is looked at each time. That it is the same cluster is asked once, which costs a call.
        let asked = OnceLock::new();
        return Box::new(move |spawn, argv| {
            if !changes(argv) {
                return Ok(());
            }
            expected.check_call(argv)?;
            if asked.get().is_none() {
                expected.check(spawn)?;
                let _ = asked.set(());
            }
            Ok(())
        });
    }
    let (kubeconfig, minikube_home) = (folders.kubeconfig(), folders.minikube_home());
    // Whom the last port was forwarded to, and when that was found to be our node.
    let forwarded = Mutex::new(None::<(Instant, [String; 3])>);
    Box::new(move |spawn, argv| {
        if !changes(argv) {
            return Ok(());
        }
        if argv.get(1).is_none_or(|verb| verb != "port-forward") {
            return check(spawn, argv, &kubeconfig, &minikube_home);
        }
        let (named, context) = pinned::named(argv);
        let now = [named.to_string(), context.to_string(), fs::read_to_string(&kubeconfig).unwrap_or_default()];
        let mut last = forwarded.lock().expect("nobody panics with it");
        if !last.as_ref().is_some_and(|(at, to)| at.elapsed() < LATELY && *to == now) {
            check(spawn, argv, &kubeconfig, &minikube_home)?;
            *last = Some((Instant::now(), now));
        }
        Ok(())
    })
}

/// Whether a call is one of helm's or kubectl's that may change a cluster, or something behind it.
fn changes(argv: &[String]) -> bool {
    let verb = argv.get(1).map_or("", String::as_str);
    // Rehearsals are none of those, whether the client does them or the server.
    let only_tried = argv.iter().any(|word| word.starts_with("--dry-run") || word == "--help");
    let asks = match argv[0].rsplit('/').next() {
        Some("helm") => helm::QUESTIONS.contains(&verb),
        Some("kubectl") => kubectl::QUESTIONS.contains(&verb),
        _ => true,
    };
    !asks && !only_tried
}

fn check(spawn: &Spawn, argv: &[String], kubeconfig: &Path, minikube_home: &Path) -> Result<()> {
    let (named, context) = pinned::named(argv);
    let refuse = |why: &str| {
        let message = format!("refusing to change a cluster that this tool did not create: {why}");
        let next = format!("Next: rm {}, then cargo xtask up, which writes a new one", kubeconfig.display());
        Err(Stop::needs_setup(format!("{message}\n{next}")).into())
    };
    if Path::new(named) != kubeconfig || context.is_empty() {
        return refuse(&format!("`{}` names no context of {}", display(argv), kubeconfig.display()));
    }
    // A node has the name of its context. One that is away publishes nothing, and then no server is right.
    let servers = spawn.attempt(docker::container_network(context))?.unwrap_or_default();
    let expected = Expected { context, servers, authority: minikube_home.join("ca.crt") };
    match fault(&fs::read_to_string(kubeconfig).unwrap_or_default(), &expected) {
        None => Ok(()),
        Some(why) => refuse(&format!("context {context} of {} {why}", kubeconfig.display())),
    }
}

/// What a context must lead to.
struct Expected<'a> {
    context: &'a str,
    /// Where docker says the node's API server is reached.
    servers: Vec<String>,
    /// Who vouches for every node of our minikube, and for no other.
    authority: PathBuf,
}

/// What is wrong with a context of a kubeconfig, in words that follow its name; None where it leads to the node.
fn fault(kubeconfig: &str, expected: &Expected) -> Option<String> {
    let Ok(all) = yaml::objects(kubeconfig) else { return Some("is in a file that is not valid YAML".to_string()) };
    let all = all.into_iter().next().unwrap_or_default();
    let entry = |list: &str, name: &str| all[list].as_array()?.iter().find(|one| one["name"] == name).cloned();
    let Some(context) = entry("contexts", expected.context) else { return Some("is not there".to_string()) };
    let cluster = context["context"]["cluster"].as_str().unwrap_or_default();
    let Some(cluster) = entry("clusters", cluster) else {
        return Some(format!("names a cluster {cluster}, which is not there"));
    };
    let cluster = &cluster["cluster"];
    let server = cluster["server"].as_str().unwrap_or_default();
    if !expected.servers.iter().any(|one| one == server) {
        let servers = match expected.servers.is_empty() {
            true => "docker runs no node of that name".to_string(),
            false => format!("that node answers at {}", expected.servers.join(" and ")),
        };
        return Some(format!("leads to {server}, and {servers}"));
    }
    // The address alone may be another's by now. Its certificate can't be.
    let authority = cluster["certificate-authority"].as_str().unwrap_or_default();
    if Path::new(authority) != expected.authority || !cluster["certificate-authority-data"].is_null() {
        return Some(format!("trusts another authority than {}", expected.authority.display()));
    }
    let around = ["insecure-skip-tls-verify", "tls-server-name", "proxy-url"];
    let way = around.into_iter().find(|key| !matches!(&cluster[*key], Value::Null | Value::Bool(false)));
    way.map(|key| format!("has {key}, with which another server could answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "
clusters:
- {name: todo, cluster: {certificate-authority: /home/ca.crt, server: 'https://192.168.49.2:8443'}}
- {name: other, cluster: {server: 'https://prod.example.org:6443'}}
contexts:
- {name: todo, context: {cluster: todo, user: todo}}
current-context: other
";

    fn faults(text: &str) -> Option<String> {
        let servers = vec!["https://127.0.0.1:32771".to_string(), "https://192.168.49.2:8443".to_string()];
        fault(text, &Expected { context: "todo", servers, authority: "/home/ca.crt".into() })
    }

    #[test]
    fn the_node_of_ours_is_let_through_whatever_the_current_context_is() {
        assert_eq!(faults(OURS), None);
        assert_eq!(faults(&OURS.replace("192.168.49.2:8443", "127.0.0.1:32771")), None);
    }

    #[test]
    fn a_context_that_leads_elsewhere_is_reported_with_its_server_and_the_one_expected() {
        let elsewhere = faults(&OURS.replace("context: {cluster: todo", "context: {cluster: other")).unwrap();
        let message = "leads to https://prod.example.org:6443, and that node answers at https://127.0.0.1:32771 and https://192.168.49.2:8443";
        assert_eq!(elsewhere, message);
        for (from, to, says) in [
            ("192.168.49.2", "192.168.49.3", "leads to https://192.168.49.3:8443"),
            ("https:", "http:", "leads to http://192.168.49.2:8443"),
            ("/home/ca.crt", "/theirs/ca.crt", "trusts another authority than /home/ca.crt"),
            ("/home/ca.crt,", "/home/ca.crt, certificate-authority-data: QQ==,", "trusts another authority"),
            ("/home/ca.crt,", "/home/ca.crt, insecure-skip-tls-verify: true,", "has insecure-skip-tls-verify"),
            ("/home/ca.crt,", "/home/ca.crt, proxy-url: 'http://x',", "has proxy-url"),
            ("- {name: todo, context", "- {name: tudo, context", "is not there"),
            ("context: {cluster: todo", "context: {cluster: none", "names a cluster none, which is not there"),
            ("current-context", "{", "not valid YAML"),
        ] {
            let text = faults(&OURS.replace(from, to)).unwrap_or_default();
            assert!(text.contains(says), "{from} → {to}: {text}");
        }
        assert_eq!(faults("").as_deref(), Some("is not there"));
    }

    #[test]
    fn without_a_node_no_server_is_right() {
        let text = fault(OURS, &Expected { context: "todo", servers: Vec::new(), authority: "/home/ca.crt".into() });
        assert_eq!(text.as_deref(), Some("leads to https://192.168.49.2:8443, and docker runs no node of that name"));
    }

    #[test]
    fn questions_and_rehearsals_change_nothing_and_all_else_does() {
        let changes = |text: &str| super::changes(&text.split(' ').map(str::to_string).collect::<Vec<_>>());
        for question in [
            "/usr/bin/kubectl get pods",
            "kubectl logs x",
            "kubectl version",
            "kubectl create x --dry-run=client",
            "helm template x",
            "helm history x",
            "helm upgrade --help",
            "helm rollback x --dry-run",
            "docker build x",
        ] {
            assert!(!changes(question), "{question}");
        }
        for change in [
            "/usr/bin/kubectl create --filename -",
            "kubectl exec x",
            "kubectl port-forward x",
            "kubectl unheard-of",
            "/opt/helm upgrade x",
            "helm rollback x",
            "helm uninstall x",
            "helm test x",
        ] {
            assert!(changes(change), "{change}");
        }
    }
}
