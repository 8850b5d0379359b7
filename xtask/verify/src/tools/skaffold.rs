//! Skaffold, which `bench` measures beside our own loop.

use xtask::run::call::{Call, argv, call};

/// What it prints when a change may come.
pub const WAITS: &str = "Watching for changes";

/// It asks nobody outside whether there is a newer version. BuildKit is asked for here: by its own setting it would also
/// give docker the flag `--load`, which clients without buildx don't know.
pub const ENVIRONMENT: [(&str, &str); 3] =
    [("SKAFFOLD_UPDATE_CHECK", "false"), ("SKAFFOLD_INTERACTIVE", "false"), ("DOCKER_BUILDKIT", "1")];

/// Its settings: it sends no metrics, asks for no survey, and takes the cluster for one that is here.
pub const SETTINGS: &str =
    "global:\n  collect-metrics: false\n  local-cluster: true\n  survey:\n    disable-prompt: true\n";

/// The files that it is given or keeps, and the only cluster that it may reach.
pub struct Given<'a> {
    pub described: &'a str,
    pub settings: &'a str,
    pub cache: &'a str,
    pub kubeconfig: &'a str,
    pub context: &'a str,
    pub namespace: &'a str,
}

/// Builds, deploys, and waits for the rollout.
pub fn run(skaffold: &str, given: &Given) -> Call {
    let options = options(given);
    call(argv!("{skaffold} run --tail=false {options...}"))
}

/// The same at each change, until it is interrupted. What it deployed stays.
pub fn dev(skaffold: &str, given: &Given) -> Call {
    let options = options(given);
    call(argv!("{skaffold} dev --cleanup=false --tail=false --port-forward=off {options...}"))
}

fn options(given: &Given) -> Vec<String> {
    let Given { described, settings, cache, kubeconfig, context, namespace } = given;
    // It would look for a docker in a minikube that has containerd.
    argv!(
        "--filename {described} --config {settings} --cache-file {cache} --kubeconfig {kubeconfig} --kube-context {context} --namespace {namespace} --detect-minikube=false"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_one_cluster_and_files_of_its_own() {
        let (described, settings, cache) = ("/p/skaffold.yaml", "/p/config", "/p/cache");
        let given = Given { described, settings, cache, kubeconfig: "/k", context: "c", namespace: "n" };
        let options = "--filename /p/skaffold.yaml --config /p/config --cache-file /p/cache --kubeconfig /k \
            --kube-context c --namespace n --detect-minikube=false";
        assert_eq!(run("skaffold", &given).text(), format!("skaffold run --tail=false {options}"));
        let dev = dev("skaffold", &given).text();
        assert_eq!(dev, format!("skaffold dev --cleanup=false --tail=false --port-forward=off {options}"));
    }
}
