//! What a contributor's shell, editor, git and CI rely on.

mod workflows;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::Project;

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
    assert_eq!(complete("cargo xtask logs --previo"), "--previous");
    assert_eq!(complete("cargo xtask bootstrap --from ''"), "release mirrors");
    assert_eq!(complete("cargo xt"), "xtask");
}

/// A project in a git repository, with the two workspaces that the hook formats.
struct Repository {
    project: Project,
}

impl Repository {
    fn new() -> Repository {
        let repository = Repository { project: Project::new() };
        for folder in ["", "services/"] {
            let package = "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
            repository.project.write(&format!("{folder}Cargo.toml"), package);
            repository.project.write(&format!("{folder}src/lib.rs"), "pub fn a() {}\n");
        }
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        repository
    }

    /// A command in the repository, on which no configuration of git's outside it works.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.project.path(""))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{name}_NAME"), "a").env(format!("GIT_{name}_EMAIL"), "a@example.test");
        }
        for variable in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "CARGO_TARGET_DIR"] {
            command.env_remove(variable);
        }
        command
    }

    fn git(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command("git").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn hook(&self, verb: &str, root: &Path) -> (Option<i32>, String) {
        let mut command = self.command(env!("CARGO_BIN_EXE_xtask"));
        command.args(["hook", verb]).env("XTASK_ROOT", root);
        let output = command.env("HOME", self.project.path("home")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn install(&self) {
        let (code, printed) = self.hook("install", &self.project.path(""));
        assert_eq!(code, Some(0), "{printed}");
    }

    /// Stages a file and commits it.
    fn commit(&self, file: &str, text: &str) -> (bool, String) {
        self.project.write(file, text);
        self.git(&["add", "--force", file]);
        let ended = self.git(&["commit", "--quiet", "--message", "a"]);
        self.git(&["reset", "--quiet"]);
        ended
    }
}

#[test]
fn the_hook_refuses_what_is_unformatted_conflicting_or_large_and_nothing_else() {
    let repository = Repository::new();
    repository.install();
    for (file, text, reason) in [
        ("src/lib.rs", "pub fn a()  {}\n".to_string(), "Rust files of Cargo.toml are not formatted"),
        ("services/src/lib.rs", "pub  fn a() {}\n".to_string(), "Rust files of services/Cargo.toml are not formatted"),
        ("a b.md", format!("{} HEAD\n", "<".repeat(7)), "leftover conflict marker"),
        ("large.bin", "x".repeat(1_048_577), "large.bin has 1048577 bytes"),
    ] {
        let (committed, printed) = repository.commit(file, &text);
        assert!(!committed && printed.contains(reason) && printed.contains("Next: "), "{file}: {printed}");
    }
    // Both workspaces are as they were left, unformatted: other files than theirs are no reason to format.
    assert_eq!(repository.commit("notes.md", "a  \n"), (true, String::new()));
    assert_eq!(repository.commit("src/lib.rs", "pub fn a() {}\n"), (true, String::new()));
}

#[test]
fn the_hook_runs_the_rules_that_were_built() {
    let repository = Repository::new();
    repository.install();
    let tidy = repository.project.path("target/debug/deps/tidy-0123");
    repository.project.write("target/debug/deps/tidy-0123", "#!/bin/sh\necho a rule is broken\nexit 1\n");
    std::fs::set_permissions(&tidy, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (committed, printed) = repository.commit("src/lib.rs", "pub fn a() {}\n");
    assert!(!committed && printed.contains("a rule is broken"), "{printed}");
}

#[test]
fn a_hook_of_somebody_elses_is_neither_overwritten_nor_removed() {
    let repository = Repository::new();
    let root = repository.project.path("");
    repository.project.write(".git/hooks/pre-commit", "#!/bin/sh\n");
    for verb in ["install", "remove"] {
        let (code, printed) = repository.hook(verb, &root);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("pre-commit is a hook that this tool did not install\nNext: "), "{printed}");
    }
    assert_eq!(repository.project.read(".git/hooks/pre-commit"), "#!/bin/sh\n");
}

#[test]
fn the_hook_goes_where_git_looks_for_it() {
    let repository = Repository::new();
    let root = repository.project.path("");
    repository.install();
    let mark = "# Installed by `cargo xtask hook install`.";
    assert!(repository.project.read(".git/hooks/pre-commit").contains(mark));
    // An older one of ours is replaced.
    repository.project.write(".git/hooks/pre-commit", &format!("#!/bin/sh\n{mark}\n"));
    repository.install();
    assert!(repository.project.read(".git/hooks/pre-commit").contains("cargo fmt"));
    assert_eq!(repository.hook("remove", &root).0, Some(0));
    assert!(!repository.project.path(".git/hooks/pre-commit").exists());
    assert_eq!(repository.hook("remove", &root).0, Some(0));

    repository.git(&["config", "core.hooksPath", ".githooks"]);
    repository.install();
    assert!(repository.project.path(".githooks/pre-commit").exists());
    repository.git(&["config", "--unset", "core.hooksPath"]);

    // A worktree has the hooks of the repository that it is of.
    repository.git(&["add", "--all"]);
    let (committed, printed) = repository.git(&["commit", "--quiet", "--message", "a"]);
    assert!(committed, "{printed}");
    let worktree = tempfile::tempdir().unwrap();
    let folder = worktree.path().join("w");
    repository.git(&["worktree", "add", "--quiet", &folder.display().to_string()]);
    let (code, printed) = repository.hook("install", &folder);
    assert_eq!(code, Some(0), "{printed}");
    assert!(repository.project.path(".git/hooks/pre-commit").exists());

    std::fs::remove_dir_all(repository.project.path(".git")).unwrap();
    let (code, printed) = repository.hook("install", &root);
    assert!(code == Some(2) && printed.contains("is no git repository"), "{printed}");
}

#[test]
fn readme_ci_and_workflow_run_one_command() {
    const TEST: &str = "cargo xtask test --yes";
    assert!(read("README.md").lines().any(|line| line == format!("    {TEST}")), "README.md");
    let runs = |line: &str| line.trim_start_matches("exec ").trim_end_matches(" 2>&1") == TEST;
    assert!(read(".ci/run").lines().any(runs), ".ci/run");
    assert!(read(".github/workflows/ci.yml").contains("uses: ./.github/workflows/xtask.yml\n"), "ci.yml");
    assert!(read(".gitlab-ci.yml").contains("local: .gitlab/xtask.yml\n"), ".gitlab-ci.yml");
    for file in [".github/workflows/xtask.yml", ".gitlab/xtask.yml"] {
        let pipeline = read(file);
        assert!(pipeline.contains(&format!("{TEST} --junit ")), "{file}");
        assert!(pipeline.contains("timeout") && pipeline.contains("/evidence"), "{file}");
    }
    assert!(read(".github/workflows/xtask.yml").contains("permissions:\n  contents: read\n"));
}

#[test]
fn the_editor_opens_every_workspace() {
    let settings: Value = serde_json::from_str(&read(".vscode/settings.json")).unwrap();
    let mut found = vec!["Cargo.toml".to_string()];
    for parent in ["", "examples/"] {
        let entries = std::fs::read_dir(root().join(parent)).into_iter().flatten().flatten();
        let names = entries.map(|entry| format!("{parent}{}/Cargo.toml", entry.file_name().display()));
        found.extend(names.filter(|file| {
            std::fs::read_to_string(root().join(file)).is_ok_and(|text| text.lines().any(|line| line == "[workspace]"))
        }));
    }
    found.sort();
    let mut linked: Vec<&str> =
        settings["rust-analyzer.linkedProjects"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    linked.sort();
    assert_eq!(linked, found);
}

#[test]
fn github_is_shown_each_mistake_beside_its_line_and_nobody_else_is() {
    let project = Project::new();
    project.edit("xtask.toml", "memory_mb = 1800", "memory_mb = \"a\"");
    project.edit("k8s/profiles/dev.toml", "chart = \"chart\"", "chart = \"chart\"\nchrt = \"50 %\"");
    let plain = project.run(&["up"]);
    plain.assert_ended(2);
    assert!(!plain.stderr.contains("::error"), "{}", plain.stderr);
    let line_of = |file: &str, text: &str| project.read(file).lines().position(|line| line.contains(text)).unwrap() + 1;
    let memory = line_of("xtask.toml", "memory_mb");
    let chart = line_of("k8s/profiles/dev.toml", "chrt");
    let expected = [
        format!(
            "::error file=work/k8s/profiles/dev.toml,line={chart},col=8::unknown key `releases.todo.chrt`: did you mean `chart`?"
        ),
        format!(
            "::error file=work/xtask.toml,line={memory},col=13::cluster.memory_mb is a string: it must be an integer"
        ),
    ];
    // The project lies in a folder of what is checked out.
    let workspace = project.path("").parent().unwrap().display().to_string();
    let folder = project.path("").file_name().unwrap().display().to_string();
    let project = project.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", &workspace);
    let run = project.run(&["up"]);
    run.assert_ended(2);
    let annotations =
        run.stderr.lines().filter(|line| line.starts_with("::")).map(|line| line.replace(&folder, "work"));
    assert_eq!(annotations.collect::<Vec<_>>(), expected);
}
