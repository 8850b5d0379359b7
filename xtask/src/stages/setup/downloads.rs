//! Releases of tools: downloaded, held to the checksum that they publish and to `tools.lock`, asked whether they can do
//! the work, and only then given their name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::config::locked;
use crate::config::locked::{Locked, is_sha256};
use crate::config::{Config, parse_version};
use crate::run::context::Project;
use crate::run::digest::sha256;
use crate::run::exit::Stop;
use crate::run::files;
use crate::run::files::fresh_folder;
use crate::run::graph;
use crate::run::graph::Task;
use crate::stages::setup::find;
use crate::stages::setup::recipes::{Plan, TOOLS};
use crate::stages::setup::sizes;
use crate::tools::curl;

/// A release that can be reached, with the checksum that it publishes.
#[derive(Debug, PartialEq)]
struct Release {
    tool: &'static str,
    version: String,
    /// Such as linux-amd64.
    platform: String,
    url: String,
    checksum_url: String,
    member: Option<String>,
    published: String,
}

/// Downloads those of the tools whose releases can be reached. With `forced`, one that can't be is an error; else it is
/// reported, and left to be built.
pub fn make(project: &Project, plan: &Plan, tools: &[&'static str], forced: bool) -> Result<()> {
    let locked = read_locked(project)?;
    let (releases, unreached) = ask_all(project, tools)?;
    if forced && !unreached.is_empty() {
        return Err(unreachable(&unreached).into());
    }
    unreached.iter().for_each(|why| project.ui.say(&format!("{why}; it is built from a package mirror")));
    let task = |release| {
        let locked = &locked;
        let run = Box::new(move || install(project, plan, release, Some(locked)));
        Task { name: release.tool.to_string(), needs: Vec::new(), run }
    };
    graph::run(releases.iter().map(task).collect(), TOOLS.len())
}

/// Downloads all tools again and locks their checksums: all of them or none.
pub fn update_lock(project: &Project, plan: &Plan) -> Result<()> {
    let mut locked = read_locked(project)?;
    let (releases, unreached) = ask_all(project, &TOOLS)?;
    if !unreached.is_empty() {
        return Err(unreachable(&unreached).into());
    }
    for release in &releases {
        install(project, plan, release, None)?;
    }
    for Release { tool, version, platform, published, .. } in &releases {
        // What was downloaded has this checksum, or it would not have been installed.
        if let Some(old) = locked.get(tool, version, platform).filter(|old| old != published) {
            project
                .ui
                .say(&format!("{tool} {version} for {platform} was {old} in {}, and is {published} now", locked::FILE));
        }
        locked.put(tool, version, platform, published);
    }
    files::replace(&project.root.join(locked::FILE), locked.write().as_bytes())
}

fn read_locked(project: &Project) -> Result<Locked> {
    let file = project.root.join(locked::FILE);
    if !file.exists() {
        return Ok(Locked::default());
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", locked::FILE))?;
    Ok(locked::parse_lock(&text)?)
}

/// Asks for all checksums at the same time. What is not answered in time comes back as a sentence each.
fn ask_all(project: &Project, tools: &[&'static str]) -> Result<(Vec<Release>, Vec<String>)> {
    if which::which("curl").is_err() {
        return Ok((Vec::new(), vec!["curl is not on PATH, and nothing can be downloaded".to_string()]));
    }
    let answers: Vec<Result<Release, String>> = std::thread::scope(|scope| {
        let asked: Vec<_> = tools.iter().map(|tool| scope.spawn(|| resolve_release(project, tool))).collect();
        asked.into_iter().map(|one| one.join().expect("asking does not panic")).collect()
    });
    project.spawn.interrupt.check()?;
    let (mut releases, mut unreached) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(release) => releases.push(release),
            Err(why) => unreached.push(why),
        }
    }
    Ok((releases, unreached))
}

/// The checksum is what tells whether a release can be reached: nothing is downloaded without one.
fn resolve_release(project: &Project, tool: &'static str) -> Result<Release, String> {
    let none = || format!("{tool} cannot be downloaded: xtask.toml has no tools.{tool}.download");
    let release = configured_release(&project.config, tool).ok_or_else(none)?;
    let failed =
        |why: &str| format!("{tool} {} cannot be downloaded: {}: {why}", release.version, release.checksum_url);
    let deadline = project.config.deadlines.reach;
    let asked = curl::text(&release.checksum_url, deadline.as_secs()).within(deadline + Duration::from_secs(5));
    let output = project.output(asked).map_err(|error| failed(&error.to_string()))?;
    if !output.success {
        return Err(failed(curl::reason(&output.tail)));
    }
    let file = release.url.rsplit('/').next().unwrap_or_default();
    let published = parse_checksum(&output.stdout, file).ok_or_else(|| failed("the response is not a checksum"))?;
    Ok(Release { published, ..release })
}

/// The release of the pinned version for this machine; None where the configuration names none.
fn configured_release(config: &Config, tool: &'static str) -> Option<Release> {
    let about = config.tools.get(tool)?;
    let (download, version) = (about.download.as_ref()?, about.pinned.as_ref()?);
    let (os, arch) = go_names(std::env::consts::OS, std::env::consts::ARCH);
    let fill = |template: &String| template.replace("{version}", version).replace("{os}", os).replace("{arch}", arch);
    Some(Release {
        tool,
        version: version.clone(),
        platform: format!("{os}-{arch}"),
        url: fill(&download.url),
        checksum_url: fill(&download.checksum),
        member: download.member.as_ref().map(fill),
        published: String::new(),
    })
}

/// System and processor as Go calls them, and so the releases of what is written in it.
pub(super) fn go_names(os: &'static str, arch: &'static str) -> (&'static str, &'static str) {
    let os = if os == "macos" { "darwin" } else { os };
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (os, arch)
}

/// The checksum of a file in lines `SHA256  FILE`, or in a file that holds nothing else.
fn parse_checksum(text: &str, file: &str) -> Option<String> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let sum = words.next()?.to_ascii_lowercase();
        let named = words.next().map(|name| name.trim_start_matches('*').rsplit('/').next().unwrap_or_default());
        (is_sha256(&sum) && named.is_none_or(|name| name == file)).then_some(sum)
    };
    text.lines().find_map(of_line)
}

fn unreachable(unreached: &[String]) -> Stop {
    let message = unreached.join("\n");
    Stop::needs_setup(format!(
        "{message}\nNext: set http_proxy and https_proxy, or tools.NAME.download in xtask.toml to a place that can be reached, or run \
         cargo xtask bootstrap --from mirrors"
    ))
}

/// Downloads into a folder beside the wanted one, which takes its name when the program is there and has been asked.
/// What was begun and not finished is removed. Without `locked`, the published checksum alone decides.
fn install(project: &Project, plan: &Plan, release: &Release, locked: Option<&Locked>) -> Result<()> {
    let Release { tool, version, platform, published, .. } = release;
    let known = locked.and_then(|locked| locked.get(tool, version, platform));
    if let Some(known) = known.filter(|known| known != published) {
        let message = format!(
            "{tool} {version} for {platform} is not what {file} holds, and is not installed\n    {known} in {file}\n    \
             {published} at {url}\nNext: find out why the release was replaced; cargo xtask bootstrap --update-lock takes what \
             is there now",
            file = locked::FILE,
            url = release.checksum_url
        );
        return Err(Stop::failed(message).into());
    }
    let step = project.ui.step(format!("download {tool}"));
    let folder = &plan.tools[tool].release;
    let partial = fresh_folder(folder)?;
    let fetched = fetch(project, release, &partial, &|text| step.update(text)).and_then(|bytes| {
        sizes::note_sizes(&partial)?;
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::rename(&partial, folder)?;
        Ok(bytes)
    });
    match fetched {
        Ok(bytes) => {
            let held = if known.is_some() { "as locked" } else { "as published" };
            step.done(&format!("{version}, {}, SHA-256 {held}", megabytes(bytes)));
            Ok(())
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&partial);
            Err(error)
        }
    }
}

/// Leaves the program alone in the folder, and returns how many bytes were downloaded.
fn fetch(project: &Project, release: &Release, folder: &Path, show: &(dyn Fn(&str) + Sync)) -> Result<u64> {
    let Release { tool, version, url, .. } = release;
    let (file, program) = (folder.join("download"), folder.join(tool));
    let size = || fs::metadata(&file).map_or(0, |about| about.len());
    let deadlines = &project.config.deadlines;
    let path = file.display().to_string();
    let call = curl::save(url, &path, deadlines.reach.as_secs(), deadlines.stall.as_secs());
    // Curl draws its progress once a second.
    let progress = |_: &str| show(&megabytes(size()));
    let output = project.spawn.output_showing(call.within(deadlines.bootstrap), &progress)?;
    if !output.success {
        let message = format!(
            "{tool} {version} could not be downloaded, and is not installed\n    {url}\n    {}\nNext: run the same command again; \
             if it stays so, cargo xtask bootstrap --from mirrors",
            curl::reason(&output.tail)
        );
        let stop = if curl::is_timeout(&output.tail) { Stop::deadline(message) } else { Stop::failed(message) };
        return Err(stop.into());
    }
    let (bytes, came) = (size(), sha256(&file, &project.spawn.interrupt)?);
    if came != release.published {
        let message = format!(
            "{tool} {version} is not what its release publishes, and is not installed\n    {} at {}\n    {came} came from {url}\n\
             Next: run the same command again; if it stays so, don't trust that place: cargo xtask bootstrap --from mirrors",
            release.published, release.checksum_url
        );
        return Err(Stop::failed(message).into());
    }
    match &release.member {
        Some(member) => {
            extract(&file, member, &program).map_err(|why| {
                let message = format!(
                    "{tool} {version} from {url} is no archive with {member} in it, and is not installed: {why}"
                );
                Stop::failed(format!("{message}\nNext: correct tools.{tool}.download in xtask.toml"))
            })?;
            fs::remove_file(&file)?;
        }
        None => fs::rename(&file, &program)?,
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let is_it = |said: String| match parse_version(&said) == parse_version(version) {
        true => Ok(()),
        false => Err(format!("says that it is {said}")),
    };
    find::probe_tool(project, tool, &program.display().to_string()).and_then(is_it).map_err(|why| {
        let message = format!("{tool} {version} from {url} {why}, and is not installed");
        Stop::failed(format!("{message}\nNext: correct tools.{tool} in xtask.toml"))
    })?;
    Ok(bytes)
}

/// Writes one member of a tar.gz into a file.
fn extract(archive: &Path, member: &str, to: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(archive)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new(member) {
            std::io::copy(&mut entry, &mut fs::File::create(to)?)?;
            return Ok(());
        }
    }
    anyhow::bail!("it has no such member")
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_stands_alone_or_beside_its_file() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(parse_checksum(&format!("{a}\n"), "tool"), Some(a.clone()));
        assert_eq!(parse_checksum(&a.to_uppercase(), "tool"), Some(a.clone()));
        let list = format!("{b}  other\n{a} *out/tool\n");
        assert_eq!(parse_checksum(&list, "tool"), Some(a));
        assert_eq!(parse_checksum(&list, "third"), None);
        assert_eq!(parse_checksum("<html>sign in</html>", "tool"), None);
        assert_eq!(parse_checksum("", "tool"), None);
    }

    #[test]
    fn systems_and_processors_have_gos_names() {
        assert_eq!(go_names("macos", "aarch64"), ("darwin", "arm64"));
        assert_eq!(go_names("linux", "x86_64"), ("linux", "amd64"));
        assert_eq!(go_names("linux", "s390x"), ("linux", "s390x"));
    }
}
