//! Files of containers that run, by the folders in which containerd has them on the node: a container needs no shell for it,
//! and may have a file system that is closed to itself.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::run::call::{Call, argv, call};

/// A container on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub node: String,
    /// As the API server names it, without its `containerd://`.
    pub id: String,
}

/// The files of a folder by their path in it: mode, as in `644`, and SHA-256.
pub type Listing = BTreeMap<String, (String, String)>;

const LIST: &str = r#"cd "$1" && export LC_ALL=C && find . -type f -printf "%m %P\n" && find . -type f -printf "%P\0" | xargs -0 -r sha256sum --"#;

/// Each file takes the place of the one before at one blow, and nobody finds the folder half empty; what is not among them goes.
const REPLACE: &str = r#"set -e
export LC_ALL=C
new=$(mktemp -d "$1.XXXXXX")
trap "rm -rf $new $new.list" EXIT
tar --extract --no-same-owner --directory "$new"
cd "$new"
find . -type f | sort >"$new.list"
find . -type d -exec mkdir -p "$1/{}" \;
find . -type f -exec mv -f "{}" "$1/{}" \;
cd "$1"
find . -type f | sort | comm -13 "$new.list" - | xargs -r -d "\n" rm -f --
find . -mindepth 1 -type d -empty -delete"#;

const LIST_FILES: &str = r#"export LC_ALL=C
cd "$1" && shift
for file; do
    if [ -f "$file" ]; then
        find "$file" -maxdepth 0 -printf "%m %p\n"
        sha256sum -- "$file"
    fi
done"#;

/// Puts files into a container and has its program start again, which must be as another file than before. The last line is
/// the digest of the file that runs then, nothing where none does.
const START_AGAIN: &str = r#"set -e
export LC_ALL=C
root=$1 pid=$(cat "$1/../init.pid") signal=$2 tries=$3
new=$(mktemp -d "$root/.new.XXXXXX")
trap "rm -rf $new" EXIT
tar --extract --no-same-owner --directory "$new"
cd "$new"
find . -type d -exec mkdir -p "$root/{}" \;
find . -type f -exec mv -f "{}" "$root/{}" \;
runs() { stat --dereference --format %d:%i "/proc/$pid/exe" 2>/dev/null || echo none; }
before=$(runs)
kill -s "$signal" "$pid"
while [ "$(runs)" = "$before" ] && [ "$tries" -gt 0 ]; do
    sleep 0.02
    tries=$((tries - 1))
done
sha256sum "/proc/$pid/exe" 2>/dev/null | cut -d " " -f 1"#;

/// How often it is asked whether the program has started again, every 20 ms.
const TRIES: u32 = 500;

/// A tar archive of files by path, mode, as in `644`, and content.
pub fn pack<C: AsRef<[u8]>>(files: impl IntoIterator<Item = Result<(String, String, C)>>) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let (path, mode, content) = file?;
        let content = content.as_ref();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(u32::from_str_radix(&mode, 8)?);
        header.set_mtime(0);
        builder.append_data(&mut header, path, content)?;
    }
    Ok(builder.into_inner()?)
}

/// What lies in a folder of a container.
pub fn list_folder(place: &Place, folder: &str) -> Call<Listing> {
    let (node, path) = (&place.node, on_node(place, folder));
    call(argv!("docker exec {node} sh -c {LIST} list {path}")).try_parse(|text| parse_listing(&text))
}

/// Those of some files, by their absolute paths, that a container has.
pub fn list_some(place: &Place, paths: &[String]) -> Call<Listing> {
    let (node, root) = (&place.node, on_node(place, ""));
    let within: Vec<&str> = paths.iter().map(|path| path.trim_start_matches('/')).collect();
    call(argv!("docker exec {node} sh -c {LIST_FILES} list {root} {within...}")).try_parse(|text| {
        let found = parse_listing(&text)?;
        Ok(found.into_iter().map(|(path, about)| (format!("/{path}"), about)).collect())
    })
}

/// Puts the files of the tar archive on stdin into a container, and sends the signal at which its program starts again.
/// Returns the SHA-256 of the program that runs then, which is the one of before where it did not; none where it ended.
pub fn start_again(place: &Place, signal: &str) -> Call {
    let (node, root, tries) = (&place.node, on_node(place, ""), TRIES.to_string());
    call(argv!("docker exec --interactive {node} sh -c {START_AGAIN} start {root} {signal} {tries}")).trimmed()
}

/// Gives a folder of a container the files of the tar archive on stdin, and no others.
pub fn replace_folder(place: &Place, folder: &str) -> Call {
    let (node, path) = (&place.node, on_node(place, folder));
    call(argv!("docker exec --interactive {node} sh -c {REPLACE} replace {path}"))
}

fn on_node(place: &Place, folder: &str) -> String {
    format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/rootfs{folder}", place.id)
}

/// First a line for each file with mode and path, then one with digest and path.
fn parse_listing(text: &str) -> Result<Listing> {
    let mut found = Listing::new();
    for line in text.lines() {
        let digest = line.split_once("  ").filter(|(word, _)| word.len() == 64);
        match (digest, line.split_once(' ')) {
            (Some((digest, path)), _) => found.entry(path.to_string()).or_default().1 = digest.to_string(),
            (None, Some((mode, path))) => found.entry(path.to_string()).or_default().0 = mode.to_string(),
            _ => bail!("the node listed a file in a way that cannot be read: {line}"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs one of the scripts on a folder, as the node would.
    fn run(script: &str, folder: &Path, archive: Vec<u8>) -> String {
        run_with(script, folder, &[], archive)
    }

    fn run_with(script: &str, folder: &Path, more: &[&str], archive: Vec<u8>) -> String {
        let mut child = Command::new("sh");
        child.args(["-c", script, "x"]).arg(folder).args(more).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_starts_again_as_the_file_that_takes_its_place() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("rootfs");
        fs::create_dir_all(folder.join("app")).unwrap();
        let program = folder.join("app/web");
        fs::copy("/bin/sh", &program).unwrap();
        let list =
            || parse_listing(&run_with(LIST_FILES, &folder, &["app/web", "app/new", "app"], Vec::new())).unwrap();
        let digest = |path: &str| list()[path].1.clone();
        let shell = digest("app/web");
        assert_eq!(list().len(), 1, "what is not there, and what is a folder, is left out");
        // Tells that it listens by a file, and is another program from the signal on. A shell can't trap what was ignored
        // when it began, as HUP is under nohup. It ends by itself where this test ends early.
        let script = r#"trap 'exec "$0" 60' USR1; : >"$1"; for _ in $(seq 3000); do sleep 0.02; done"#;
        let ready = root.path().join("ready");
        let mut service = Command::new(&program).args(["-c", script]).arg(&program).arg(&ready).spawn().unwrap();
        while !ready.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        fs::write(root.path().join("init.pid"), service.id().to_string()).unwrap();
        let sleep = fs::read("/bin/sleep").unwrap();
        let archive = archive(&[("app/web", "755", &sleep), ("app/new", "644", b"new")]);
        let said = run_with(START_AGAIN, &folder, &["USR1", "500"], archive.clone());
        assert_eq!(said.trim(), digest("app/web"));
        assert_ne!(said.trim(), shell);
        assert_eq!(list()["app/new"].0, "644");
        // It sleeps through this one, and what does not listen is not waited for without end.
        assert_eq!(run_with(START_AGAIN, &folder, &["WINCH", "3"], archive), said);
        service.kill().unwrap();
        service.wait().unwrap();
    }

    fn archive(files: &[(&str, &str, &[u8])]) -> Vec<u8> {
        pack(files.iter().map(|(path, mode, content)| Ok((path.to_string(), mode.to_string(), content)))).unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_has_the_files_of_the_archive_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("assets");
        fs::create_dir_all(folder.join("gone")).unwrap();
        fs::write(folder.join("gone/old.js"), "old").unwrap();
        fs::write(folder.join("a b.js"), "one").unwrap();
        fs::set_permissions(folder.join("a b.js"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(parse_listing(&run(LIST, &folder, Vec::new())).unwrap()["a b.js"].0, "600");
        run(REPLACE, &folder, archive(&[("a b.js", "644", b"two"), ("deep/er/c.css", "644", b"three")]));
        let listed = parse_listing(&run(LIST, &folder, Vec::new())).unwrap();
        let digest = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
        assert_eq!(listed["a b.js"], ("644".to_string(), digest.to_string()));
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["a b.js", "deep/er/c.css"]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(!folder.join("gone").exists());
    }
}
