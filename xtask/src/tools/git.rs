//! Git, asked about the project's own repository.

use crate::run::call::{Call, argv, call};

/// The files that are tracked, relative to the folder, each behind a null byte.
pub fn ls_files(root: &str) -> Call<Vec<String>> {
    call(argv!("git -C {root} ls-files -z")).parse(|text| parse_files(&text))
}

fn parse_files(stdout: &str) -> Vec<String> {
    stdout.split('\0').filter(|path| !path.is_empty()).map(str::to_string).collect()
}

/// The files that differ from what the checked-out commit and `base` have in common, relative to the folder; of a file that
/// was moved both places.
pub fn changed(root: &str, base: &str) -> Call<Vec<String>> {
    call(argv!("git -C {root} diff --name-only --no-renames --relative --merge-base -z {base} --"))
        .parse(|text| parse_files(&text))
}

/// The files that are neither tracked nor ignored.
pub fn untracked(root: &str) -> Call<Vec<String>> {
    call(argv!("git -C {root} ls-files --others --exclude-standard -z")).parse(|text| parse_files(&text))
}

/// Exits with 0 where the path is ignored, with 1 where it isn't.
pub fn check_ignore(root: &str, path: &str) -> Call {
    call(argv!("git -C {root} check-ignore --quiet --no-index {path}"))
}

/// Exits with 0 where the path is ignored and not tracked, with 1 where it is not, with another code outside a repository.
pub fn check_untracked(folder: &str, path: &str) -> Call {
    call(argv!("git -C {folder} check-ignore --quiet {path}"))
}

/// The commit that is checked out, as in `8827473`, with `-dirty` behind it where files differ from it.
pub fn commit(root: &str) -> Call {
    call(argv!("git -C {root} describe --always --dirty --exclude *")).trimmed()
}

/// The name of whoever works here, as commits have it; fails where none is set.
pub fn user(root: &str) -> Call {
    call(argv!("git -C {root} config user.name")).trimmed()
}

/// Prints the folder of the hooks, which a worktree or core.hooksPath may have moved; relative to `root` unless absolute.
pub fn hooks(root: &str) -> Call {
    call(argv!("git -C {root} rev-parse --git-path hooks")).trimmed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_lines_are_read() {
        assert_eq!(parse_files("a b\0c\nd\0"), ["a b", "c\nd"]);
        assert!(parse_files("").is_empty());
        assert_eq!(commit("/r").text(), "git -C /r describe --always --dirty --exclude *");
        let diff = "git -C /r diff --name-only --no-renames --relative --merge-base -z main --";
        assert_eq!(changed("/r", "main").text(), diff);
        assert_eq!(check_ignore("/r", "x").text(), "git -C /r check-ignore --quiet --no-index x");
    }
}
