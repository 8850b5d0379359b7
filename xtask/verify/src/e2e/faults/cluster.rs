//! What a cluster refuses, what others have in it, and what somebody did to it behind our back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::e2e::faults::{
    Failure, NAMESPACE, RELEASE, await_some, failed, fails, finally, image_of, status, while_serving,
};
use crate::e2e::world::Begun;
use crate::e2e::world::{World, tells};
use xtask::run::call::DEADLINE;
use xtask::stages::{cluster, load};
use xtask::tools::{ctr, kubectl};

const SECRET: &str = "todo-chatbot-secrets";
/// A change that replaces the pod of the MCP server, and nothing else.
const OTHER: &str = "services:\n  mcp:\n    env:\n      LOG_LEVEL: debug\n";

pub fn quota(world: &World) -> Result<()> {
    let count = world.objects("pods")?.len().to_string();
    let meta = json!({"name": "full"});
    world.create(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": count}},
    }))?;
    let failure = Failure {
        code: 1,
        tells: &["deployment mcp: the quota full is exceeded: pods: 1 requested"],
        next: "kubectl describe resourcequota full",
    };
    let ended = await_some(world, "the count of the quota", || {
        Ok(world.objects("resourcequota/full")?[0]["status"]["used"]["pods"].is_string().then_some(()))
    });
    finally(ended.and_then(|()| fails(world, OTHER, &[], &failure)), world.delete("resourcequota/full"))
}

/// The namespace is held to the restricted level, and the pod asks for more.
pub fn admission(world: &World) -> Result<()> {
    let root = world.project("admission")?;
    let file = root.join("helm/todo-chatbot/templates/mcp-deployment.yaml");
    let wanted = "{{- include \"library.workloads\" (dict \"root\" . \"only\" (list \"mcp\")) | replace \"allowPrivilegeEscalation: false\" \"allowPrivilegeEscalation: true\" }}\n";
    ensure!(file.is_file(), "the chart has no template of the MCP server's Deployment");
    fs::write(&file, wanted)?;
    let output = while_serving(world, || world.xtask_in(&root, &["up"]))?;
    let tells = [
        "deployment mcp",
        "the API server rejects it: violates PodSecurity",
        "allowPrivilegeEscalation",
        "is back at revision",
    ];
    failed(&output, &Failure { code: 1, tells: &tells, next: "kubectl describe deployment mcp" })
}

pub fn hook_fails(world: &World) -> Result<()> {
    let root = with_hook(world, "[/app/mcp, healthcheck, \"http://127.0.0.1:1/\"]")?;
    let output = while_serving(world, || world.xtask_in(&root, &["up"]));
    let output = finally(output, world.delete(HOOK))?;
    let tells = ["hook job hooked (pre-upgrade) failed", "pod hooked-", "its last log lines:", "127.0.0.1:1"];
    failed(&output, &Failure { code: 1, tells: &tells, next: "kubectl logs hooked-" })
}

pub fn hook_hangs(world: &World) -> Result<()> {
    let root = with_hook(world, "[/app/mcp]")?;
    let file = root.join("xtask.toml");
    let text = fs::read_to_string(&file)?;
    ensure!(!text.contains("[deadlines]"), "xtask.toml has deadlines of its own");
    fs::write(&file, text + "\n[deadlines]\nhelm_s = 15\n")?;
    let output = while_serving(world, || world.xtask_in(&root, &["up"]));
    let output = finally(output, world.delete(HOOK))?;
    let tells =
        ["hook job hooked: helm waits for it (pre-upgrade)", "hook job hooked (pre-upgrade) did not end within 15 s"];
    failed(&output, &Failure { code: 4, tells: &tells, next: "kubectl" })
}

pub fn no_endpoints(world: &World) -> Result<()> {
    let tells = ["Service mcp: has no endpoints, though pods run", "selector"];
    let failure = Failure { code: 1, tells: &tells, next: "kubectl describe service mcp" };
    fails(world, "faults:\n  noEndpoints: [mcp]\n", &[], &failure)
}

pub fn other_image(world: &World) -> Result<()> {
    let nodes = cluster::nodes(&world.ctx)?;
    let node = nodes.first().context("the cluster has no node")?;
    let (image, other) = (image_of(world, "mcp")?, image_of(world, "frontend")?);
    let id = || anyhow::Ok(load::list(&world.ctx, node)?.get(&image).cloned());
    let before = id()?.with_context(|| format!("the node does not list {image}"))?;
    world.run(ctr::tag(node, &other, &image))?;
    await_some(world, "the other image under the tag", || Ok((id()?.as_ref() != Some(&before)).then_some(())))?;
    let output = world.up()?;
    ensure!(id()? == Some(before), "{image} is still another one on the node\n{}", output.tail);
    tells(&output, &["load todo-chatbot-mcp"])
}

/// While nothing of ours has it, another Service takes the port at which the page was reached.
pub fn port_taken(world: &World) -> Result<()> {
    let before = world.url()?;
    let port: u16 = before.rsplit(':').next().unwrap_or_default().parse()?;
    let output = world.xtask(&["down"])?;
    ensure!(output.success, "down failed\n{}", output.tail);
    world.create(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "squatter"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
    }))?;
    let moved = (|| {
        world.up()?;
        let now = world.url()?;
        ensure!(now != before, "{before} is held by another Service");
        ensure!(world.get(&now)?.contains("<title>"), "the page does not answer at {now}");
        let squatter = &world.objects("service/squatter")?[0];
        ensure!(squatter["spec"]["ports"][0]["nodePort"] == port, "the other Service has lost its port");
        Ok(())
    })();
    finally(moved, world.delete("service/squatter"))
}

pub fn foreign_namespace(world: &World) -> Result<()> {
    let name = format!("{NAMESPACE}-others");
    let object = format!("namespace/{name}");
    world.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
    let refused = (|| {
        let output = world.typed(&["down", "--purge", "--namespace", &name])?;
        let tells = [name.as_str(), "was not made by this tool"];
        failed(&output, &Failure { code: 1, tells: &tells, next: "" })?;
        let phase = &world.objects(&object)?[0]["status"]["phase"];
        ensure!(phase == "Active", "the namespace is {phase}");
        Ok(())
    })();
    finally(refused, world.delete(&object))
}

pub fn volume_grows(world: &World) -> Result<()> {
    let values = "services:\n  postgres:\n    volumes:\n      data:\n        size: 2Gi\n";
    let before = world.fingerprint()?;
    let file = world.overrides(values)?;
    let refusal =
        "volume claim data-postgres-0: 1Gi → 2Gi: its storage class, standard, does not allow volume expansion";
    for command in ["plan", "up"] {
        let output = world.xtask(&[command, "--override", &file])?;
        ensure!(output.code == Some(1), "{command} ended with {:?}\n{}", output.code, output.tail);
        tells(&output, &[refusal, "Next: keep the volume as it is"])?;
    }
    ensure!(world.fingerprint()? == before, "something changed");
    world.up().map(drop)
}

pub fn paused_rollout(world: &World) -> Result<()> {
    world.patch("deployment/mcp", "merge", &json!({"spec": {"paused": true}}))?;
    let plan = world.xtask(&["plan"])?;
    tells(&plan, &["deployment/mcp: paused true → false"])?;
    let output = while_serving(world, || world.up_with(OTHER, &[]))?;
    ensure!(output.success, "up failed, as the rollout is paused\n{}", output.tail);
    tells(&output, &["deployment/mcp: paused was set to true by hand; setting it back"])?;
    world.up().map(drop)
}

pub fn held_namespace(world: &World) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.org/hold"]},
    });
    world.create(&object)?;
    let begun = world.begin(&["down", "--purge"])?;
    let names = |begun: &Begun| begun.has_said("is held by configmap/held (finalizer example.org/hold, since ");
    let named = await_some(world, "the name of what holds the namespace", || Ok(names(&begun).then_some(())));
    let freed = world.patch("configmap/held", "merge", &json!({"metadata": {"finalizers": null}}));
    let output = begun.end(world)?;
    named.and(freed)?;
    ensure!(output.success, "down --purge failed, though the finalizer is gone\n{}", output.tail);
    world.up().map(drop)
}

pub fn other_profile(world: &World) -> Result<()> {
    let before = world.fingerprint()?;
    let label = |profile: &str| {
        let labels = [format!("todo-chatbot.local/profile={profile}")];
        world.run(kubectl::label(&world.target, &format!("namespace/{NAMESPACE}"), &labels))
    };
    label("rolling")?;
    let refused = [&["up"][..], &["down"], &["rollback"]].into_iter().try_for_each(|command| {
        let output = world.xtask(command)?;
        let tells = [&format!("namespace {NAMESPACE} holds {RELEASE} of profile rolling")[..]];
        failed(&output, &Failure { code: 3, tells: &tells, next: "cargo xtask down --profile rolling" })
    });
    finally(refused, label("dev").map(drop))?;
    ensure!(world.fingerprint()? == before, "something was changed in a namespace of another profile");
    Ok(())
}

pub fn password_lost(world: &World) -> Result<()> {
    let task = world.add_task("needs its old password")?;
    let name = format!("secret/{SECRET}");
    let mut secret = world.objects(&name)?.pop().context("the Secret is there")?;
    for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
        secret["metadata"].as_object_mut().context("a Secret has metadata")?.remove(field);
    }
    world.delete(&name)?;
    let refused = while_serving(world, || world.xtask(&["up"])).and_then(|output| {
        let tells = ["the volume data-postgres-0 is there", SECRET];
        failed(&output, &Failure { code: 1, tells: &tells, next: "give it again with --override" })?;
        ensure!(world.objects(&name)?.is_empty(), "a Secret was made anew\n{}", output.tail);
        Ok(())
    });
    finally(refused, world.create(&secret))?;
    world.up()?;
    world.expect_task(&task)
}

pub fn placeholder(world: &World) -> Result<()> {
    let before = world.fingerprint()?;
    let output = world.up_with("secret:\n  values:\n    DATABASE_URL: CHANGE_ME\n", &[])?;
    ensure!(output.code == Some(2), "it ended with {:?} instead of 2\n{}", output.code, output.tail);
    tells(&output, &["override.yaml:3:", "secret.values.DATABASE_URL is still a placeholder"])?;
    ensure!(world.fingerprint()? == before, "something was changed for a placeholder");
    Ok(())
}

pub fn current_context(world: &World) -> Result<()> {
    let before = world.fingerprint()?;
    let file = world.ctx.folders.kubeconfig();
    let known = fs::read_to_string(&file)?;
    let lines = known.lines().map(|line| match line.starts_with("current-context:") {
        true => "current-context: production\n".to_string(),
        false => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    ensure!(changed != known, "the kubeconfig has no current context");
    replace(&file, &changed)?;
    let output = world.xtask(&["up"]);
    let put_back = replace(&file, &known);
    let output = finally(output, put_back)?;
    ensure!(output.success, "up failed with another current context\n{}", output.tail);
    ensure!(world.fingerprint()? == before, "another current context changed something\n{}", output.tail);
    Ok(())
}

/// The context of our name leads to another address, and a cluster answers there.
pub fn other_cluster(world: &World) -> Result<()> {
    let config = &world.ctx.config;
    let home = world.ctx.staging("state");
    let (own, state) = (&world.ctx.folders.state, home.join(&config.project));
    let profile = Path::new(".minikube/profiles").join(&config.cluster.name);
    fs::create_dir_all(state.join(&profile))?;
    fs::copy(own.join(&profile).join("config.json"), state.join(&profile).join("config.json"))?;
    let (sender, receiver) = mpsc::channel();
    let call = kubectl::proxy(&world.target);
    let _proxy = world.ctx.spawn.background(call, move |line| {
        let _ = sender.send(line.to_string());
    })?;
    let line = receiver.recv_timeout(DEADLINE).context("kubectl proxy says nothing")?;
    let server = format!("http://{}", kubectl::parse_proxy(&line).with_context(|| format!("kubectl proxy: {line}"))?);
    let known = fs::read_to_string(world.ctx.folders.kubeconfig())?;
    let ours = known.lines().find_map(|line| line.trim().strip_prefix("server: "));
    let ours = ours.context("the kubeconfig names no server")?;
    fs::write(state.join("kubeconfig"), known.replace(ours, &server))?;
    let output = while_serving(world, || world.xtask_at(&home, &["down"]))?;
    let leads = format!("leads to {server}");
    let tells = ["refusing to change a cluster that this tool did not create", &leads];
    failed(&output, &Failure { code: 3, tells: &tells, next: "rm " })?;
    let (_, left) = status(world)?;
    ensure!(left == "deployed", "by way of another cluster's address the release is {left}");
    Ok(())
}

pub const HOOK: &str = "job/hooked";

/// A copy of the project whose chart has a hook before an upgrade, a Job of the MCP server's image with this command.
pub fn with_hook(world: &World, command: &str) -> Result<PathBuf> {
    let root = world.project("hooked")?;
    let template = HOOKED.replace("COMMAND", command);
    fs::write(root.join("helm/todo-chatbot/templates/hooked.yaml"), template)?;
    Ok(root)
}

const HOOKED: &str = r#"{{- $image := .Values.services.mcp.image -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: hooked
  namespace: {{ .Release.Namespace }}
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: hooked
          image: {{ $image.repository }}:{{ $image.tag }}
          imagePullPolicy: Never
          command: COMMAND
          env:
            - name: BACKEND_URL
              value: http://backend:8000
          resources:
            requests:
              cpu: 10m
              memory: 16Mi
            limits:
              cpu: 100m
              memory: 64Mi
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop:
                - ALL
"#;

/// Nobody may see half of a file that others read meanwhile.
fn replace(file: &Path, text: &str) -> Result<()> {
    let fresh = file.with_extension("fresh");
    fs::write(&fresh, text)?;
    fs::set_permissions(&fresh, fs::metadata(file)?.permissions())?;
    Ok(fs::rename(&fresh, file)?)
}
