//! The External Secrets operator, as a process beside the cluster, makes the Secrets of a package.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::e2e::secrets::sentinel;
use crate::e2e::targets::secrets::{KEY, SECRET, package_for_an_operator};
use crate::e2e::targets::{TEAM, Team};
use crate::e2e::world::World;
use xtask::run::call::{Call, DEADLINE, argv, call};
use xtask::run::poll;
use xtask::run::process::Background;
use xtask::stages::setup;
use xtask::tools::{go, kubectl};

/// The Go module that has the operator's sources, and the schemas of its kinds.
const MODULE: &str = "github.com/external-secrets/external-secrets";
const PROGRAM: &str = "external-secrets";
const KINDS: [&str; 2] = ["externalsecrets", "clustersecretstores"];
/// What is made of another key, and is in no store.
const DERIVED: &str = "DATABASE_URL";
/// How long the operator may take to begin and to look into the store.
const MADE: Duration = Duration::from_secs(60);

pub fn makes(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    team.up()?;
    let folder = package_for_an_operator(&team)?;
    let proven = proves(&team, &folder);
    let removed = remove(&team);
    fs::remove_dir_all(&folder)?;
    proven?;
    removed
}

fn proves(team: &Team, folder: &Path) -> Result<()> {
    let world = team.world;
    let at = &kubectl::at(&world.target);
    let apply = |file: &Path| {
        let file = file.display().to_string();
        world.run(call(argv!("kubectl apply --server-side --filename {file} {at...}"))).map(drop)
    };
    for kind in KINDS {
        apply(&sources(world)?.join(format!("config/crds/bases/external-secrets.io_{kind}.yaml")))?;
        let name = format!("customresourcedefinition/{kind}.external-secrets.io");
        world.run(call(argv!("kubectl wait --for condition=established {name} --timeout 30s {at...}")))?;
    }
    let before = world.run(kubectl::get_secret_values(&world.target, SECRET))?;
    let mut kept = before.clone();
    let url = kept.remove(DERIVED).with_context(|| format!("Secret {SECRET} has no {DERIVED}"))?;
    let planted = sentinel()?;
    kept.insert(KEY.to_string(), planted.clone());
    world.run(kubectl::create(&world.target).stdin(store(&kept)?))?;
    let _operator = start(team)?;
    apply(&folder.join("external-secrets"))?;
    let is_made = || {
        let values = world.run(kubectl::get_secret_values(&world.target, SECRET))?;
        Ok((values.get(KEY) == Some(&planted)).then_some(values))
    };
    let made = poll::until(&world.ctx.spawn.interrupt, MADE, is_made)?.context("the operator made no Secret")?;
    ensure!(made.get(DERIVED) == Some(&url), "{DERIVED} is another than `up` had made");
    ensure!(made.keys().eq(before.keys()), "the Secret has other keys: {:?}", made.keys().collect::<Vec<_>>());
    let output = team.up()?;
    ensure!(!output.tail.contains(&planted), "a value was printed");
    let checked = team.on(&["secrets", "check"])?;
    ensure!(checked.success, "secrets check failed with what the operator made\n{}", checked.tail);
    Ok(())
}

/// The store of the operator's one provider whose values stand in the object.
fn store(values: &BTreeMap<String, String>) -> Result<String> {
    let data = json!([{"key": format!("kv/{SECRET}"), "value": serde_json::to_string(values)?}]);
    let store = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore", "metadata": {"name": TEAM},
        "spec": {"provider": {"fake": {"data": data}}},
    });
    Ok(store.to_string())
}

fn start(team: &Team) -> Result<Background> {
    let [program] = setup::programs(&team.world.ctx, [PROGRAM])?;
    let mut config = team.own_kubeconfig()?;
    config["current-context"] = TEAM.into();
    let file = team.root.join("operator.kubeconfig").display().to_string();
    fs::write(&file, config.to_string())?;
    let run: Call = call(argv!("{program} --kubeconfig {file}"));
    team.world.ctx.spawn.background(run, |_| {})
}

/// Takes the operator's kinds away, and with them its Secret; the next scenario begins anew.
fn remove(team: &Team) -> Result<()> {
    let world = team.world;
    let names = KINDS.map(|kind| format!("customresourcedefinition/{kind}.external-secrets.io"));
    world.run(kubectl::delete(&world.target, &names, DEADLINE))?;
    let output = team.on(&["down", "--purge"])?;
    ensure!(output.success, "down --purge failed\n{}", output.tail);
    match world.objects(&format!("secret/{SECRET}"))?.is_empty() {
        true => Ok(()),
        false => world.delete(&format!("secret/{SECRET}")),
    }
}

fn sources(world: &World) -> Result<PathBuf> {
    let module = world.ctx.config.mirrors.modules.get(PROGRAM).context("no module builds the operator")?;
    let folder = world.ctx.recipes().join(&module.folder);
    go::with_environment(&world.ctx.spawn).run(go::download(MODULE).within(DEADLINE * 10).folder(folder))
}
