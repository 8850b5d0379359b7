//! What `up`, `smoke` and `down` leave behind, counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::e2e::world::World;
use xtask::tools::{cargo, docker};

const COMMAND: Duration = Duration::from_secs(2400);

/// Everything of one kind, by its name.
type Counted = BTreeMap<&'static str, BTreeSet<String>>;

/// Begins and ends with a release that is down, so that what a first run makes once, such as tools, is no leftover; then
/// brings it up again.
pub fn nothing_behind(world: &World) -> Result<()> {
    let temporary = world.ctx.staging("temporary");
    fs::create_dir_all(&temporary)?;
    // A temporary folder of their own: in the system's, others come and go.
    let mut spawn = world.spawn.clone();
    spawn.env.push(("TMPDIR".to_string(), temporary.display().to_string()));
    let run = |name: &str| -> Result<()> {
        let words: Vec<&str> = world.options.iter().map(String::as_str).chain([name]).collect();
        let output = spawn.output(cargo::xtask(&world.ctx.path("Cargo.toml"), &words).within(COMMAND))?;
        ensure!(output.success, "{name} failed\n{}", output.tail);
        Ok(())
    };
    run("down")?;
    let before = count(world, &temporary)?;
    ["up", "smoke"].into_iter().try_for_each(run)?;
    let between = count(world, &temporary)?;
    run("down")?;
    let after = count(world, &temporary)?;
    fs::remove_dir_all(&temporary)?;
    // A count that sees nothing of a release that runs would see nothing that it leaves.
    let staged = between["cache files"].difference(&before["cache files"]).count();
    ensure!(staged > 0, "up stages nothing that could be counted");
    let left = leftovers(&before, &after);
    ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    world.up().map(drop)
}

/// What is there now and was not before, each with its kind.
fn leftovers(before: &Counted, after: &Counted) -> Vec<String> {
    let of_kind = |(kind, names): (&&str, &BTreeSet<String>)| -> Vec<String> {
        names.difference(&before[*kind]).map(|name| format!("{kind}: {name}")).collect()
    };
    after.iter().flat_map(of_kind).collect()
}

fn count(world: &World, temporary: &Path) -> Result<Counted> {
    let set = |call| -> Result<BTreeSet<String>> { Ok(world.run::<Vec<String>>(call)?.into_iter().collect()) };
    let folders = &world.ctx.folders;
    let own = world.ctx.staging("");
    // Other namespaces have runs of their own, and records and what was learnt of the cluster's API are kept.
    let staging = folders.cache.join("staging");
    let others = |file: &Path| file != staging && file.starts_with(&staging) && !file.starts_with(&own);
    let foreign = |file: &Path| others(file) || file.starts_with(temporary);
    // Where cargo compiles to is cargo's own, and it clears up there when it likes.
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let cargos = |file: &Path| target.as_ref().is_some_and(|target| file.starts_with(target));
    let passed_over = |file: &Path| foreign(file) || cargos(file) || file.starts_with(folders.discovery());
    let cache = files(&folders.cache, &passed_over);
    let records = ["records", "logs", "evidence"].map(|name| folders.state.join(name));
    let namespace = &world.ctx.config.namespace;
    let other_lock = |file: &Path| {
        file.extension().is_some_and(|ending| ending == "lock")
            && file.file_stem().is_none_or(|stem| stem.to_string_lossy() != *namespace)
    };
    let state = files(&folders.state, &|file| records.iter().any(|one| file.starts_with(one)) || other_lock(file));
    Ok(BTreeMap::from([
        ("containers", set(docker::containers())?),
        ("networks", set(docker::networks())?),
        ("volumes", set(docker::volumes())?),
        ("processes", processes(&[&folders.kubeconfig().display().to_string(), namespace])),
        ("temporary files", files(temporary, &|_| false)),
        ("cache files", cache),
        ("state files", state),
    ]))
}

/// Processes that name each of `words` in their command, such as a port-forward into a namespace.
fn processes(words: &[&str]) -> BTreeSet<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let commands = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let commands = commands.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    commands.filter(|command| words.iter().all(|word| command.contains(word))).collect()
}

/// All files and links under a folder but those that are passed over.
fn files(folder: &Path, pass_over: &dyn Fn(&Path) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            _ if pass_over(&path) => {}
            Ok(kind) if kind.is_dir() => found.extend(files(&path, pass_over)),
            _ => {
                found.insert(path.display().to_string());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_left_behind_and_what_is_gone_is_not() {
        let counted = |names: &[&str]| Counted::from([("files", names.iter().map(|name| name.to_string()).collect())]);
        assert!(leftovers(&counted(&["a", "b"]), &counted(&["b"])).is_empty());
        assert_eq!(leftovers(&counted(&["a"]), &counted(&["a", "b"])), ["files: b"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_found_by_words_of_its_command() {
        let word = format!("{}", std::process::id() + 4_200_000);
        let mut child = std::process::Command::new("sleep").args(["30", "0", &word]).spawn().unwrap();
        // A child that was just begun has no command to read yet.
        let mut found = BTreeSet::new();
        for _ in 0..100 {
            found = processes(&["sleep", &word]);
            if !found.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let none = processes(&["sleep", &word, "no such word"]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((found.len(), none.len()), (1, 0));
    }
}
