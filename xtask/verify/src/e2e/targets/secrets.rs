//! Secrets that others make on a target: they are taken as they are, and needed whole.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::e2e::targets::{TEAM, Team};
use crate::e2e::world::{World, tells};
use xtask::run::call::{DEADLINE, argv, call};
use xtask::tools::{go, kubectl};

/// The External Secrets operator, and the kind that a package has.
const OPERATOR: &str = "github.com/external-secrets/external-secrets@v1.3.2";
const KIND: &str = "externalsecrets.external-secrets.io";
pub const SECRET: &str = "todo-chatbot-secrets";
/// One that nothing but tokens depends on.
pub const KEY: &str = "JWT_SECRET";

pub fn of_others(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    // As an operator would make it: by whom it was made says nothing.
    team.up()?;
    let file = team.root.join("xtask.toml");
    let described = fs::read_to_string(&file)?;
    fs::write(&file, format!("{described}secrets = \"existing\"\n"))?;
    let before = world.fingerprint()?;
    tells(&team.on(&["plan"])?, &["nothing to do"])?;
    team.up()?;
    ensure!(world.fingerprint()? == before, "up changed something with the Secrets of others");
    let output = team.on(&["secrets", "rotate"])?;
    ensure!(!output.success, "a Secret of others was rotated\n{}", output.tail);
    let values = world.run(kubectl::get_secret_values(&world.target, SECRET))?;
    let value = values.get(KEY).with_context(|| format!("Secret {SECRET} has no {KEY}"))?;
    world.patch(&format!("secret/{SECRET}"), "json", &json!([{"op": "remove", "path": format!("/data/{KEY}")}]))?;
    let refused = team.is_refused(3, &[&format!("Secret {SECRET}"), &format!("lacks {KEY}"), "Next: have them made"]);
    world.patch(&format!("secret/{SECRET}"), "merge", &json!({"stringData": {KEY: value}}))?;
    refused?;
    let output = team.up()?;
    tells(&team.on(&["secrets", "check"])?, &[KEY])?;
    ensure!(!output.tail.contains(value.as_str()), "a value was printed");
    Ok(())
}

/// The operator's own schema takes what a package has for it, and no value is in it.
pub fn of_an_operator(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    // The objects are in its namespace.
    team.up()?;
    let folder = package_for_an_operator(&team)?;
    let crd = sources(world)?.join("config/crds/bases/external-secrets.io_externalsecrets.yaml").display().to_string();
    let (objects, name) =
        (folder.join("external-secrets").display().to_string(), format!("customresourcedefinition/{KIND}"));
    let at = &kubectl::at(&world.target);
    let taken = (|| {
        world.run(call(argv!("kubectl create --filename {crd} {at...}")))?;
        world.run(call(argv!("kubectl wait --for condition=established {name} --timeout 30s {at...}")))?;
        let apply =
            |file: &str| call(argv!("kubectl apply --dry-run=server --validate=strict --filename {file} {at...}"));
        let said = world.run(apply(&objects))?;
        ensure!(said.contains(&format!("externalsecret.external-secrets.io/{SECRET} created")), "{said}");
        // Were nothing checked, this would be taken, too.
        let text = fs::read_to_string(folder.join(format!("external-secrets/{SECRET}.yaml")))?;
        let wrong = folder.join("wrong.yaml");
        fs::write(&wrong, text.replace("secretKey", "secretKeys"))?;
        let output = world.ctx.spawn.output(apply(&wrong.display().to_string()))?;
        ensure!(!output.success && output.tail.contains("secretKeys"), "a wrong key was taken\n{}", output.tail);
        Ok(())
    })();
    world.run(kubectl::delete(&world.target, &[name], DEADLINE))?;
    fs::remove_dir_all(&folder)?;
    taken
}

/// A package of a target whose Secrets an operator makes, of a store in which `kv/SECRET` has their values. Returns its folder.
pub fn package_for_an_operator(team: &Team) -> Result<PathBuf> {
    let file = team.root.join("xtask.toml");
    let store = format!(
        "secrets = \"existing\"\n[targets.{TEAM}.external_secrets]\nstore = \"team\"\npath = \"kv/{{secret}}\"\n"
    );
    fs::write(&file, format!("{}{store}", fs::read_to_string(&file)?))?;
    let folder = team.world.ctx.folders.cache.join("external");
    let to = folder.display().to_string();
    let output = team.on(&["package", to.as_str()])?;
    ensure!(output.success, "package failed\n{}", output.tail);
    Ok(folder)
}

/// The sources of the operator, which have the schema of its objects.
fn sources(world: &World) -> Result<PathBuf> {
    let download = go::download(OPERATOR).within(DEADLINE * 5).folder(std::env::temp_dir());
    go::with_environment(&world.ctx.spawn).run(download)
}
