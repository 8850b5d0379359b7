//! What a Secret holds gets nowhere: sentinels are planted, and then looked for in whatever can be read.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::e2e::world::World;
use crate::tools::grep;
use xtask::run::call::{DEADLINE, call};
use xtask::tools::{cargo, docker, helm, kubectl};

const COMMAND: Duration = Duration::from_secs(600);
const SAMPLE: Duration = Duration::from_millis(20);
/// Of the files with what could be read, the one in which a sentinel is.
pub const CONTROL: &str = "control";

/// A rotation leaves an application that does what it did, with other values, and nothing for `up` to do.
pub fn rotate(world: &World) -> Result<()> {
    let task = world.add_task("survives a rotation")?;
    let before = values(world)?;
    let mut said = String::new();
    run(world, &["secrets", "rotate"], &mut said)?;
    let after = values(world)?;
    let same: Vec<&String> = before.iter().filter(|value| after.contains(*value)).collect();
    ensure!(same.is_empty(), "{} values are as they were before the rotation\n{said}", same.len());
    run(world, &["secrets", "check"], &mut said)?;
    ensure!(said.contains("POSTGRES_PASSWORD opens todo for todo"), "nobody asked the database\n{said}");
    world.expect_task(&task)?;
    let fingerprint = world.fingerprint()?;
    world.up()?;
    ensure!(world.fingerprint()? == fingerprint, "up changed something after a rotation\n{said}");
    Ok(())
}

/// Values that are given and those that are made: none is in an output, a record, a file, an argument of any process, a
/// release, an object of the cluster that is no Secret, a log or an image.
pub fn stay_secret(world: &World) -> Result<()> {
    let folder = world.ctx.staging("sentinels");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let planted = [sentinel()?, sentinel()?];
    let own = world.ctx.folders.cache.join("sentinels.override.yaml");
    let text = json!({ "secret": { "values": { "JWT_SECRET": planted[0], "BETTER_AUTH_SECRET": planted[1] } } });
    fs::write(&own, text.to_string())?;
    let own_path = own.display().to_string();
    let copy = world.ctx.folders.cache.join("sentinels-exported.override.yaml");
    let copy_path = copy.display().to_string();
    let mut said = String::new();
    let mut all: BTreeSet<String> = values(world)?;
    let (ran, arguments) = watch(|| -> Result<()> {
        run(world, &["up", "--verbose", "--json", "--override", &own_path], &mut said)?;
        all.extend(values(world)?);
        run(world, &["secrets", "rotate", "--verbose", "--json"], &mut said)?;
        all.extend(values(world)?);
        run(world, &["secrets", "check", "--verbose", "--json"], &mut said)?;
        run(world, &["secrets", "export", "--verbose", "--json", "--to", &copy_path], &mut said)
    });
    // Whatever came of it, these hold values.
    for file in [&own, &copy].into_iter().filter(|file| file.exists()) {
        fs::remove_file(file)?;
    }
    ran?;
    ensure!(planted.iter().all(|value| all.contains(value)), "the sentinels did not get into the Secret");
    ensure!(arguments.contains("--patch-file"), "the process list was not seen while a Secret was written");
    fs::write(folder.join("said"), &said)?;
    fs::write(folder.join("arguments"), arguments)?;
    fs::write(folder.join(CONTROL), format!("before {} behind", planted[0]))?;
    keep_release(world, &folder)?;
    keep_objects(world, &folder)?;
    keep_images(world, &folder)?;

    in_no_file(world, &all, &folder.join(CONTROL))?;
    fs::remove_dir_all(&folder)?;
    world.up().map(drop)
}

/// Fails if a file of the tool's holds one of these values; `control` does, and is found.
pub fn in_no_file(world: &World, values: &BTreeSet<String>, control: &Path) -> Result<()> {
    let texts: String = values.iter().flat_map(|value| forms(value)).map(|form| form + "\n").collect();
    // What was put together lies in the second.
    let places = [world.ctx.folders.state.clone(), world.ctx.folders.cache.join("staging")];
    let places = places.map(|place| place.display().to_string());
    let found = world.ctx.output(grep::files_with(&places).within(DEADLINE * 5).stdin(texts))?;
    let control = control.display().to_string();
    let leaks: Vec<&str> = found.stdout.lines().filter(|file| *file != control).collect();
    ensure!(found.stdout.contains(&control), "the search does not find what is there: {}", found.tail);
    ensure!(leaks.is_empty(), "values of the Secret are in {}", leaks.join(", "));
    Ok(())
}

/// Adds what a command said to `said`.
fn run(world: &World, arguments: &[&str], said: &mut String) -> Result<()> {
    let all: Vec<&str> = world.options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let lines = std::sync::Mutex::new(Vec::new());
    let note = |line: &str| lines.lock().expect("nobody panics with it").push(line.to_string());
    let call = cargo::xtask(&world.ctx.path("Cargo.toml"), &all);
    let output = world.spawn.output_showing(call.within(COMMAND), &note)?;
    said.push_str(&lines.into_inner().expect("nobody panics with it").join("\n"));
    ensure!(output.success, "{} failed\n{}", arguments.join(" "), output.tail);
    Ok(())
}

/// Does something, and returns with what came of it the arguments of all processes that were seen meanwhile.
fn watch<T>(work: impl FnOnce() -> T) -> (T, String) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen: BTreeSet<String> = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
                    let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
                    seen.insert(String::from_utf8_lossy(&arguments).replace('\0', " "));
                }
                std::thread::sleep(SAMPLE);
            }
            seen.into_iter().collect::<Vec<_>>().join("\n")
        });
        let came = work();
        done.store(true, Ordering::Relaxed);
        (came, watching.join().expect("looking does not panic"))
    })
}

/// A value that nothing else has.
pub fn sentinel() -> Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(format!("sentinel-{}", bytes.map(|byte| format!("{byte:02x}")).concat()))
}

/// All values of the profile's Secrets.
pub fn values(world: &World) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (name, secret) in &world.ctx.config.secrets {
        let target = world.ctx.target_in(&secret.namespace);
        let values = world.ctx.run(kubectl::get_secret_values(&target, name))?;
        found.extend(values.into_values().filter(|value| !value.is_empty()));
    }
    ensure!(found.len() > 2, "the Secret is not there");
    Ok(found)
}

/// A text as it is, and what of its base64 is the same wherever in a longer text it stands.
fn forms(value: &str) -> Vec<String> {
    let encoded = (0..3).map(|shift| {
        let text = BASE64_STANDARD.encode([&b"\0\0"[..shift], value.as_bytes()].concat());
        let text = text.trim_end_matches('=');
        text[(shift * 8).div_ceil(6)..text.len() - 1].to_string()
    });
    std::iter::once(value.to_string()).chain(encoded).collect()
}

/// What helm tells of the release, and what it keeps of it, which is zipped in base64 in base64.
fn keep_release(world: &World, folder: &Path) -> Result<()> {
    for release in world.ctx.config.releases.keys() {
        let target = &world.ctx.scope(release).target;
        let keep = |what: &str, argv| -> Result<()> {
            fs::write(folder.join(format!("{release}-{what}")), world.run(call(argv))?)?;
            Ok(())
        };
        keep("all", helm::get_all(target, release).argv)?;
        keep("values", helm::values_of(target, release).argv)?;
        keep("history", helm::history(target, release, 20).argv)?;
    }
    let mut kept = 0;
    for secret in world.objects("secrets")? {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        if world.ctx.config.secrets.contains_key(name) {
            continue;
        }
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let mut bytes = BASE64_STANDARD.decode(value.as_str().unwrap_or_default())?;
            if secret["type"] == "helm.sh/release.v1" {
                let zipped = BASE64_STANDARD.decode(&bytes)?;
                let mut text = String::new();
                GzDecoder::new(zipped.as_slice()).read_to_string(&mut text)?;
                ensure!(text.contains("\"manifest\""), "{name} is no release of helm's");
                bytes = text.into_bytes();
                kept += 1;
            }
            fs::write(folder.join(format!("{name}-{key}")), bytes)?;
        }
    }
    ensure!(kept > 0, "helm keeps nothing of the release");
    Ok(())
}

/// Every object that is no Secret, and the logs of every container, those of the database's server among them.
fn keep_objects(world: &World, folder: &Path) -> Result<()> {
    let target = &world.target;
    let kinds = world.run(kubectl::list_kinds(target))?;
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| *kind != "secrets").collect();
    ensure!(kinds.contains(&"configmaps") && kinds.contains(&"pods"), "the cluster does not tell its kinds");
    let objects = world.objects(&kinds.join(","))?;
    fs::write(folder.join("objects"), Value::Array(objects).to_string())?;
    for pod in world.pods()? {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let container = container["name"].as_str().unwrap_or_default();
            let answer = world.ctx.spawn.output(kubectl::logs(target, name, container, false, 10_000))?;
            fs::write(folder.join(format!("{name}-{container}.log")), answer.stdout)?;
        }
    }
    Ok(())
}

fn keep_images(world: &World, folder: &Path) -> Result<()> {
    let pods = world.pods()?;
    let containers = pods.iter().flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
    let images: BTreeSet<&str> = containers.filter_map(|container| container["image"].as_str()).collect();
    ensure!(!images.is_empty(), "no pod has an image");
    for (number, image) in images.into_iter().enumerate() {
        let file = |what: &str| folder.join(format!("image-{number}.{what}"));
        fs::write(file("history"), world.run(docker::history(image))?.join("\n"))?;
        fs::write(file("json"), world.run(docker::inspect(image))?.unwrap_or_default().to_string())?;
        world.run(docker::save_to(image, &file("tar").display().to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_wherever_in_base64_it_stands() {
        let value = "sentinel-0123456789";
        for before in ["", "a", "ab", "abc", "{\"x\":\""] {
            for behind in ["", "z", "zz", "\"}"] {
                let text = BASE64_STANDARD.encode(format!("{before}{value}{behind}"));
                assert!(forms(value).iter().any(|form| text.contains(form)), "{before} {behind}");
                let other = BASE64_STANDARD.encode(format!("{before}sentinel-9123456789{behind}"));
                assert!(!forms(value).iter().any(|form| other.contains(form)), "{before} {behind}");
            }
        }
    }

    #[test]
    fn arguments_of_other_processes_are_seen() {
        let (ended, seen) = watch(|| std::process::Command::new("sleep").arg("0.31415").status().unwrap());
        assert!(ended.success() && seen.contains("sleep 0.31415"));
    }
}
