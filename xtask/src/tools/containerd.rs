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

/// What lies in a folder of a container.
pub fn list_folder(place: &Place, folder: &str) -> Call<Listing> {
    let (node, path) = (&place.node, on_node(place, folder));
    call(argv!("docker exec {node} sh -c {LIST} list {path}")).try_parse(|text| parse_listing(&text))
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
        let mut child = Command::new("sh");
        child.args(["-c", script, "x"]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
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
        run(REPLACE, &folder, archive(&[("a b.js", "two"), ("deep/er/c.css", "three")]));
        let listed = parse_listing(&run(LIST, &folder, Vec::new())).unwrap();
        let digest = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
        assert_eq!(listed["a b.js"], ("644".to_string(), digest.to_string()));
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["a b.js", "deep/er/c.css"]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(!folder.join("gone").exists());
    }
}
