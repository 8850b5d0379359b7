//! What a contributor's shell, editor, git and CI rely on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Runs the binary in a folder that belongs to no project.
fn run_outside(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).current_dir(folder.path()).env_clear().output().unwrap()
}

fn script(shell: &str) -> String {
    let output = run_outside(&["completions", shell]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_shell_has_a_completion_script_and_no_project_is_needed() {
    for (shell, connects) in
        [("bash", "complete -F _cargo_xtask"), ("zsh", "_cargo-xtask()"), ("fish", "complete -c cargo ")]
    {
        assert!(script(shell).contains(connects), "{shell}");
    }
    assert_eq!(run_outside(&["completions", "csh"]).status.code(), Some(2));
}

#[test]
fn bash_completes_what_follows_cargo_xtask() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    std::fs::write(&file, script("bash")).unwrap();
    let complete = |words: &str| {
        let program = format!(
            "source \"$0\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             _cargo_xtask cargo \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &program]).arg(&file).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    };
    assert_eq!(complete("cargo xtask stat"), "status");
    assert_eq!(complete("cargo xtask secrets ro"), "rotate");
    assert_eq!(complete("cargo xtask logs --prev"), "--previous");
    assert_eq!(complete("cargo xtask bootstrap --from ''"), "release mirrors");
    assert_eq!(complete("cargo xt"), "xtask");
}
