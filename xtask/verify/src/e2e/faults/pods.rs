//! Pods that do not get ready, each for a reason of its own. It is mostly the MCP server's: nobody else needs it.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use crate::e2e::faults::{Failure, REGISTRY, await_some, fails, finally, forget_image, image_of, is_of, sql};
use crate::e2e::world::World;
use xtask::stages::cluster;
use xtask::tools::docker::Build;
use xtask::tools::{ctr, docker, kubectl};

pub fn image_absent(world: &World) -> Result<()> {
    let values = format!("services:\n  mcp:\n    image:\n      registry: {REGISTRY}\n");
    let image = format!("its image {REGISTRY}/{} is not on the node", image_of(world, "mcp")?);
    fails(world, &values, &[], &Failure { code: 1, tells: &["pod mcp-", &image], next: "docker exec " })
}

pub fn image_unreachable(world: &World) -> Result<()> {
    let values = format!("services:\n  mcp:\n    image:\n      registry: {REGISTRY}\n      pullPolicy: IfNotPresent\n");
    let image = format!("its image {REGISTRY}/{} cannot be pulled", image_of(world, "mcp")?);
    fails(world, &values, &[], &Failure { code: 1, tells: &["pod mcp-", &image], next: "kubectl describe pod mcp-" })
}

pub fn wrong_architecture(world: &World) -> Result<()> {
    // The head of a program: 62 is x86-64, 183 is AArch64.
    let other = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    let mut program = vec![0; 512];
    program[..20].copy_from_slice(&[127, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, other, 0]);
    let dockerfile = "FROM scratch\nCOPY --chmod=0755 program /app/mcp\nENTRYPOINT [\"/app/mcp\"]\n";
    let failure = Failure {
        code: 1,
        tells: &["pod mcp-", "is built for another architecture than the node's", "exec format error"],
        next: "docker image inspect",
    };
    with_image(world, dockerfile, &program, "", &failure)
}

pub fn out_of_memory(world: &World) -> Result<()> {
    let base = image_of(world, "postgres")?;
    // It keeps the last line that it reads, and there is no end of this one.
    let dockerfile = format!("FROM {base}\nENTRYPOINT [\"tail\", \"/dev/zero\"]\n");
    let limits = "    resources:\n      limits:\n        memory: 64Mi\n";
    let failure = Failure {
        code: 1,
        tells: &["pod mcp-", "crashed 2 times", "exit code 137: out of memory, its limit is 64Mi"],
        next: "kubectl",
    };
    with_image(world, &dockerfile, b"", limits, &failure)
}

pub fn crash(world: &World) -> Result<()> {
    let values = "services:\n  backend:\n    env:\n      DATABASE_MAX_CONNECTIONS: many\n";
    let tells =
        ["pod backend-", "container backend: crashed 2 times", "its last log lines:", "DATABASE_MAX_CONNECTIONS"];
    fails(world, values, &[], &Failure { code: 1, tells: &tells, next: "kubectl logs backend-" })
}

pub fn readiness(world: &World) -> Result<()> {
    let values = "services:\n  mcp:\n    env:\n      BACKEND_URL: http://127.0.0.1:1\n";
    let tells = ["pod mcp-", "its readiness probe fails", "503", "its last log lines:", "the backend can't be reached"];
    fails(world, values, &["--timeout", "20"], &Failure { code: 4, tells: &tells, next: "kubectl logs mcp-" })
}

pub fn liveness(world: &World) -> Result<()> {
    let root = world.project("liveness")?;
    let file = root.join("xtask.toml");
    let text = fs::read_to_string(&file)?;
    let (before, mcp) = text.split_once("[services.mcp]").context("xtask.toml describes no service mcp")?;
    let changed = mcp.replacen("liveness = \"/health\"", "liveness = \"/nowhere\"", 1);
    ensure!(changed != mcp, "xtask.toml describes no liveness probe of mcp");
    fs::write(&file, format!("{before}[services.mcp]{changed}"))?;
    // Ready only when it is too late, or the rollout would be over before it is ended for the first time.
    let probes = "{startup: {exec: [/app/mcp, healthcheck]}, liveness: {periodSeconds: 1, failureThreshold: 1}, readiness: {initialDelaySeconds: 60}}";
    let overrides = world.overrides(&format!("services:\n  mcp:\n    probes: {probes}\n"))?;
    let output = super::while_serving(world, || world.xtask_in(&root, &["up", "--override", &overrides]))?;
    let tells = ["pod mcp-", "was ended 2 times, as its liveness probe failed", "404", "is back at revision"];
    super::failed(&output, &Failure { code: 1, tells: &tells, next: "kubectl logs mcp-" })
}

pub fn too_little_cpu(world: &World) -> Result<()> {
    let resources = "requests: {cpu: \"64\"}\n      limits: {cpu: \"64\"}\n";
    let tells = ["pod mcp-", "cannot be scheduled: cpu: 64000m requested", "too little"];
    unschedulable(world, resources, &tells)
}

pub fn too_little_memory(world: &World) -> Result<()> {
    let resources = "requests: {memory: 512Gi}\n      limits: {memory: 512Gi}\n";
    unschedulable(world, resources, &["pod mcp-", "cannot be scheduled: memory: ", "requested", "too little"])
}

pub fn config_key(world: &World) -> Result<()> {
    let values = "services:\n  mcp:\n    extraEnv:\n      - name: NO_SUCH\n        valueFrom:\n          configMapKeyRef: {name: todo-chatbot-config, key: NO_SUCH}\n";
    let tells = ["pod mcp-", "its configuration is refused", "NO_SUCH", "todo-chatbot-config"];
    fails(world, values, &[], &Failure { code: 1, tells: &tells, next: "kubectl describe pod mcp-" })
}

pub fn secret_key(world: &World) -> Result<()> {
    let values = "services:\n  mcp:\n    secretKeys: [NO_SUCH]\n";
    let tells = ["pod mcp-", "its configuration is refused", "NO_SUCH", "todo-chatbot-secrets"];
    fails(world, values, &[], &Failure { code: 1, tells: &tells, next: "kubectl describe pod mcp-" })
}

/// The database says that another migration was run than the one that the backend has.
pub fn migration(world: &World) -> Result<()> {
    let known = sql(world, "SELECT encode(checksum, 'hex') FROM _sqlx_migrations WHERE version = 1")?;
    ensure!(!known.is_empty(), "the database knows no migration 1");
    let set = |checksum: &str| {
        sql(world, &format!("UPDATE _sqlx_migrations SET checksum = decode('{checksum}', 'hex') WHERE version = 1"))
    };
    set("00")?;
    let values = "services:\n  backend:\n    env:\n      LOG_LEVEL: debug\n";
    let tells = ["pod backend-", "a migration fails", "was previously applied but has been modified"];
    let failure = Failure { code: 1, tells: &tells, next: "kubectl logs backend-" };
    finally(fails(world, values, &[], &failure), set(&known).map(drop))
}

/// A migration waits for a table that somebody else holds. Nothing has failed in that, however long it takes.
pub fn slow_start(world: &World) -> Result<()> {
    const HELD: &str = "BEGIN; LOCK TABLE _sqlx_migrations; SELECT pg_sleep(120)";
    let words = ["psql", "--username", "todo", "--dbname", "todo", "--command", HELD].map(str::to_string);
    let holds = kubectl::exec(&world.target, "postgres-0", "postgres", &words);
    let held = "SELECT count(*) FROM pg_locks WHERE relation = '_sqlx_migrations'::regclass AND mode = 'AccessExclusiveLock' AND granted";
    let holder = world.ctx.spawn.background(holds, |_| {})?;
    await_some(world, "the lock of a table", || Ok((sql(world, held)? == "1").then_some(())))?;
    let old = names(world, "backend")?;
    let values = "services:\n  backend:\n    env:\n      LOG_LEVEL: debug\n";
    let output = std::thread::scope(|threads| {
        let upgrade = threads.spawn(|| super::while_serving(world, || world.up_with(values, &[])));
        // Longer than what is hopeless is given.
        let waited = await_some(world, "a new pod of the backend", || {
            Ok((names(world, "backend")?.iter().any(|name| !old.contains(name))).then_some(()))
        });
        let waited = waited.map(|()| std::thread::sleep(std::time::Duration::from_secs(12)));
        let ended_too_early = upgrade.is_finished();
        let released = sql(
            world,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(120)' AND pid <> pg_backend_pid()",
        );
        let output = upgrade.join().expect("an upgrade does not panic")?;
        waited?;
        released?;
        ensure!(!ended_too_early, "up ended while the backend waited\n{}", output.tail);
        Ok(output)
    })?;
    drop(holder);
    ensure!(output.success, "a slow start was called a failure\n{}", output.tail);
    Ok(())
}

pub fn claim_pending(world: &World) -> Result<()> {
    let volume = "volumes:\n      more: {path: /more, size: 1Mi, storageClass: nowhere}\n";
    let values = format!("services:\n  mcp:\n    workload: StatefulSet\n    {volume}");
    let tells = ["claim more-mcp-0: has no volume", "nowhere"];
    let failure = Failure { code: 1, tells: &tells, next: "kubectl describe persistentvolumeclaim more-mcp-0" };
    finally(fails(world, &values, &[], &failure), world.delete("persistentvolumeclaim/more-mcp-0"))
}

fn unschedulable(world: &World, resources: &str, tells: &[&str]) -> Result<()> {
    let values = format!("services:\n  mcp:\n    resources:\n      {resources}");
    fails(world, &values, &[], &Failure { code: 1, tells, next: "kubectl describe nodes" })
}

/// `up` with another image in place of the MCP server's, of a file `program`; the image is gone at the end.
fn with_image(world: &World, dockerfile: &str, program: &[u8], values: &str, failure: &Failure) -> Result<()> {
    let image = format!("{REGISTRY}/{}", image_of(world, "mcp")?);
    let folder = world.ctx.staging("fault");
    fs::create_dir_all(&folder)?;
    let file = folder.join("Dockerfile");
    fs::write(&file, dockerfile)?;
    fs::write(folder.join("program"), program)?;
    let (file, context) = (file.display().to_string(), folder.display().to_string());
    let build = Build {
        dockerfile: &file,
        context: &context,
        target: None,
        tags: std::slice::from_ref(&image),
        args: Vec::new(),
        labels: Vec::new(),
        ca: None,
    };
    world.run(docker::build(&build))?;
    let nodes = cluster::nodes(&world.ctx)?;
    let Some(node) = nodes.first() else { bail!("the cluster has no node") };
    let save = docker::save(&image);
    world.ctx.spawn.pipe(save.within(world.ctx.config.deadlines.load), ctr::import(node))?;
    let values = format!("services:\n  mcp:\n    image:\n      registry: {REGISTRY}\n{values}");
    finally(fails(world, &values, &[], failure), forget_image(world, node, &image))
}

fn names(world: &World, service: &str) -> Result<Vec<String>> {
    let pods = world.pods()?.into_iter().filter(|pod| is_of(pod, service));
    Ok(pods.map(|pod| pod["metadata"]["name"].to_string()).collect())
}
