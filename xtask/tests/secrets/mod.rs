//! `secrets check`, `rotate` and `export`, and that no value of a Secret gets anywhere but where it belongs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::beginnings;
use super::common::{Project, Run, for_each_case};
use super::releases::{assert_secret, deeds, kubectl, secret};

const ROTATE: [&str; 4] = ["secrets", "rotate", "--profile", "many"];
const CHECK: [&str; 4] = ["secrets", "check", "--profile", "many"];
const OVERRIDE: &str = "k8s/profiles/many.override.yaml";
const PSQL: &str = "kubectl exec store-0 --container store --stdin";

/// A project with a database whose pod is ready.
fn with_database() -> Project {
    let project = Project::up_with("many");
    let reference = r#"{"name":"PW","valueFrom":{"secretKeyRef":{"name":"database","key":"PASSWORD"}}}"#;
    let status = r#"{"containerStatuses":[{"name":"store","ready":true}]}"#;
    let spec = format!(r#"{{"containers":[{{"name":"store","env":[{reference}]}}]}}"#);
    let pod = format!(r#"{{"metadata":{{"name":"store-0"}},"spec":{spec},"status":{status}}}"#);
    project.answer("kubectl get pods --output", &format!("echo '{pod}'"));
    project
}

/// All values of the profile's Secrets.
fn values(project: &Project) -> BTreeMap<String, String> {
    secret(project, "many/app").into_iter().chain(secret(project, "many-database/database")).collect()
}

#[track_caller]
fn assert_all_secret(project: &Project, run: &Run, values: &BTreeMap<String, String>) {
    assert_secret(project, run, &values.values().map(String::as_str).collect::<Vec<_>>());
}

/// That what is in force belongs together, and nothing is to come.
#[track_caller]
fn assert_whole(project: &Project) {
    let all = values(project);
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["API_KEY", "DATABASE_URL", "PASSWORD", "TOKEN"]);
    assert_eq!(all["DATABASE_URL"], format!("postgres://todo:{}@postgres.many-database/todo", all["PASSWORD"]));
}

#[test]
fn check_tells_of_each_key_and_asks_the_database() {
    let project = with_database();
    for more in [&[][..], &["--json"], &["--verbose"]] {
        let run = project.run(&[&CHECK[..], more].concat());
        run.assert_ended(0);
        // All that is no mere question is one that is put to the database.
        let asked = run.changes();
        assert!(asked.len() == 1 && asked[0].starts_with(PSQL), "{asked:?}");
        assert!(asked[0].contains(&kubectl("many-database")), "{asked:?}");
        assert_all_secret(&project, &run, &values(&project));
    }
    let plain = project.run(&CHECK).stdout;
    for line in [
        "✓ API_KEY                  empty: no value was given",
        "✓ DATABASE_URL             there, and agrees with PASSWORD",
        "✓ TOKEN                    there",
        "✓ todo                     PASSWORD opens todo for todo",
    ] {
        assert!(plain.contains(line), "\"{line}\" is not in\n{plain}");
    }
    let json = project.run(&[&CHECK[..], &["--json"]].concat()).stdout;
    let answer: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&answer["secrets"][0]["there"], &answer["secrets"][1]["namespace"]),
        (&true.into(), &"many-database".into())
    );
    let keys = answer["secrets"][0]["keys"].as_array().unwrap();
    assert!(keys.len() == 3 && keys.iter().all(|key| key["good"] == true), "{answer}");
}

#[test]
fn check_finds_what_is_wrong_and_does_not_repeat_it() {
    let project = with_database();
    let app = "standin/secrets/many/app";
    let good = project.read(app);
    let address = secret(&project, "many/app")["DATABASE_URL"].clone();
    let token = secret(&project, "many/app")["TOKEN"].clone();
    for (from, to, says) in [
        (format!("TOKEN {token}\n"), "", "✗ TOKEN                    is missing"),
        (format!("TOKEN {token}"), "TOKEN", "✗ TOKEN                    is empty"),
        (token.clone(), "CHANGE_ME_sentinel", "✗ TOKEN                    is a placeholder"),
        (
            address.clone(),
            "mysql://sentinel/x",
            "✗ DATABASE_URL             must begin with postgres:// or postgresql://",
        ),
        (address.clone(), "sentinel", "✗ DATABASE_URL             is not a URL"),
        (
            address.clone(),
            "postgres://todo:sentinel@postgres.many-database/todo",
            "✗ DATABASE_URL             does not agree with PASSWORD",
        ),
        ("API_KEY".to_string(), "TOKEN.next", "✗ TOKEN.next               is left from an unfinished rotation"),
    ] {
        project.write(app, &good.replace(&from, to));
        let run = project.run(&CHECK);
        run.assert_ended(1);
        assert!(run.stdout.contains(says), "\"{says}\" is not in\n{}", run.stdout);
        assert!(!run.stdout.contains("sentinel") && !run.stderr.contains("sentinel"), "{}", run.stdout);
        run.assert_says(&["not as it should be", "Next: cargo xtask"]);
        assert_eq!(beginnings(&run.changes()), ["kubectl exec store-0"]);
    }
    project.write(app, &good);
    project.answer(PSQL, "echo 'FATAL: password authentication failed for user' >&2; exit 2");
    let refused = project.run(&CHECK);
    refused.assert_ended(1);
    assert!(
        refused.stdout.contains("✗ todo                     PASSWORD does not open todo for todo"),
        "{}",
        refused.stdout
    );
    fs::remove_dir_all(project.path("standin/secrets/many-database")).unwrap();
    let absent = project.run(&CHECK);
    absent.assert_ended(1);
    assert!(absent.stdout.contains("✗ the Secret               is not there"), "{}", absent.stdout);
    assert!(absent.stdout.contains("follows from PASSWORD, which is not there"), "{}", absent.stdout);
}

#[test]
fn a_database_of_ones_own_is_neither_missed_nor_rotated() {
    let project = Project::new();
    project.write(OVERRIDE, "secret:\n  values:\n    DATABASE_URL: postgres://me:sentinel@outside:5432/todo\n");
    project.run(&["up", "--profile", "many"]).assert_ended(0);
    // With the file, and without it.
    for file in [true, false] {
        if !file {
            fs::remove_file(project.path(OVERRIDE)).unwrap();
        }
        let check = project.run(&CHECK);
        check.assert_ended(0);
        assert!(check.stdout.contains("not needed: the database is one of your own"), "{}", check.stdout);
        let run = project.run(&ROTATE);
        run.assert_ended(0);
        run.assert_says(&["PASSWORD stays as it is: the database is one of your own"]);
        let app = secret(&project, "many/app");
        assert_eq!(app["DATABASE_URL"], "postgres://me:sentinel@outside:5432/todo");
        assert_eq!(run.calls_of(&["kubectl exec"]), [""; 0]);
        assert_secret(&project, &run, &["sentinel", &app["TOKEN"]]);
    }
}

#[test]
fn rotate_changes_database_and_secrets_together_and_replaces_the_pods() {
    let project = with_database();
    let before = values(&project);
    let run = project.run(&[&ROTATE[..], &["--verbose"]].concat());
    run.assert_ended(0);
    assert_whole(&project);
    let after = values(&project);
    assert!(["PASSWORD", "TOKEN", "DATABASE_URL"].iter().all(|key| before[*key] != after[*key]));
    assert_eq!((after["PASSWORD"].len(), &after["API_KEY"]), (64, &before["API_KEY"]));
    let patch = |name: &str, namespace: &str| {
        format!("kubectl patch secret/{name} --type merge --patch-file /dev/stdin {}", kubectl(namespace))
    };
    let (app, database) = (patch("app", "many"), patch("database", "many-database"));
    let changes = run.changes();
    let changes: Vec<&str> = changes.into_iter().filter(|call| !call.contains("port-forward")).collect();
    // First what is to come, then the database, then what is in force.
    assert_eq!([changes[0], changes[1]], [&app, &database]);
    assert!(changes[2].starts_with(PSQL), "{changes:?}");
    assert_eq!([changes[3], changes[4]], [&app, &database]);
    let mut first = beginnings(&changes[5..7]);
    first.sort();
    assert_eq!(first, ["helm upgrade api", "helm upgrade tools"]);
    // A restart of the database ends the connections that the old pods still have.
    assert_eq!(beginnings(&changes[7..]), ["helm upgrade web", "helm upgrade database"]);
    let statements = project.read("standin/statements");
    assert!(statements.starts_with("ALTER ROLE \"todo\" PASSWORD 'SCRAM-SHA-256$4096:"), "{statements}");
    assert_all_secret(&project, &run, &before);
    assert_all_secret(&project, &run, &after);
    run.assert_says(&["tokens signed with TOKEN are no longer valid"]);
    // What was deployed stays what is deployed.
    assert_eq!(run.calls_of(&["docker build --progress", "docker save"]), [""; 0]);
}

#[test]
fn one_key_is_rotated_alone_and_others_are_refused_by_name() {
    let project = with_database();
    let before = values(&project);
    let run = project.run(&["secrets", "rotate", "TOKEN", "--profile", "many"]);
    run.assert_ended(0);
    let after = values(&project);
    assert!(after["TOKEN"] != before["TOKEN"] && after["PASSWORD"] == before["PASSWORD"]);
    assert_eq!(run.calls_of(&["kubectl exec"]), [""; 0]);
    assert!(!deeds(&run).iter().any(|call| call.contains("database")), "{:?}", deeds(&run));

    let wrong = project.run(&["secrets", "rotate", "DATABASE_URL", "API_KEY", "KYE", "--profile", "many"]);
    wrong.assert_ended(2);
    wrong.assert_says(&[
        "DATABASE_URL follows from PASSWORD: rotate that",
        "API_KEY is yours to give: write it into k8s/profiles/many.override.yaml",
        "KYE is no key of a Secret of profile many",
        "Next: name of these, or none for all: TOKEN, PASSWORD",
    ]);
    assert_eq!(wrong.calls, [""; 0]);

    project.write(OVERRIDE, "secret:\n  values:\n    TOKEN: sentinel-two-0123456789abcdef0123456789\n");
    let given = project.run(&["secrets", "rotate", "TOKEN", "--profile", "many"]);
    given.assert_ended(1);
    given.assert_says(&["TOKEN stays as it is: k8s/profiles/many.override.yaml gives it"]);
    assert_eq!((given.changes(), values(&project)), (vec![], after));
}

#[test]
fn rotate_needs_secrets() {
    let project = Project::up();
    let run = project.run(&ROTATE);
    run.assert_ended(3);
    run.assert_says(&["profile many has no Secret yet", "Next: cargo xtask up --profile many"]);
    assert_eq!(run.changes(), [""; 0]);
}

#[test]
fn a_rotation_that_is_killed_anywhere_is_ended_by_the_next_run() {
    let steps = [
        ("kubectl patch secret/app", 1),
        ("kubectl patch secret/database", 1),
        ("kubectl exec", 1),
        ("kubectl patch secret/app", 2),
        ("kubectl patch secret/database", 2),
        ("helm upgrade tools", 1),
        ("helm upgrade database", 1),
    ];
    // Before a step is done, and after it; either command follows on either.
    let mut cases = Vec::new();
    for (index, (step, nth)) in steps.into_iter().enumerate() {
        for done in [false, true] {
            let next: &[&str] = if (index % 2 == 0) == done { &["up", "--profile", "many"] } else { &ROTATE };
            cases.push((step, nth, done, next));
        }
    }
    for_each_case(&cases, |(step, nth, done, next)| kill_rotation(step, *nth, *done, next));
}

/// Kills a rotation at the n-th of the calls that begin with `step`, and has another command end what it began.
fn kill_rotation(step: &str, nth: usize, done: bool, next: &[&str]) {
    let project = with_database();
    let before = values(&project);
    let count = format!("echo x >>killed; [ \"$(wc -l <killed)\" != {nth} ] ||");
    let kill = "kill -KILL $PPID; sleep 1";
    let rules = project.read("standin/rules");
    match done {
        false => project.before(step, &format!("{count} {{ {kill}; exit 1; }}")),
        true => project.before(step, &format!("{count} trap '{kill}' EXIT")),
    }
    let killed = project.run(&ROTATE);
    assert_eq!(killed.code, None, "{step} {nth}: {}", killed.stderr);
    project.write("standin/rules", &rules);
    let statements = project.read("standin/statements").lines().count();
    let begun = values(&project).keys().any(|key| key == "PASSWORD.next");

    let run = project.run(next);
    run.assert_ended(0);
    assert_whole(&project);
    // The database gets the value that is in force, whatever it got before.
    assert!(!begun || project.read("standin/statements").lines().count() > statements, "{step} {nth} {next:?}");
    let again = project.run(&["up", "--profile", "many"]);
    again.assert_ended(0);
    assert_eq!(again.calls_of(&["kubectl patch", "kubectl exec"]), [""; 0]);
    for seen in [&killed, &run] {
        assert_all_secret(&project, seen, &before);
        assert_all_secret(&project, seen, &values(&project));
    }
}

#[test]
fn a_database_that_does_not_take_the_password_changes_nothing_that_is_in_force() {
    let project = with_database();
    let before = values(&project);
    let rules = project.read("standin/rules");
    project.answer(PSQL, "echo 'ERROR: permission denied' >&2; exit 3");
    let run = project.run(&ROTATE);
    run.assert_ended(1);
    run.assert_says(&["the database did not take another password for todo", "ERROR: permission denied", "Next: "]);
    assert!(before.iter().all(|(key, value)| values(&project)[key] == *value));
    assert_eq!(deeds(&run), [""; 0]);
    project.write("standin/rules", &rules);
    project.run(&ROTATE).assert_ended(0);
    assert_whole(&project);
    assert_ne!(values(&project)["PASSWORD"], before["PASSWORD"]);
}

#[test]
fn pods_that_do_not_come_up_with_new_values_do_not_bring_back_old_ones() {
    let project = with_database();
    project.write("standin/failing", "backend\n");
    let run = project.run(&ROTATE);
    run.assert_ended(1);
    run.assert_says(&["backend failed: timed out"]);
    assert_whole(&project);
    assert!(
        !deeds(&run).iter().any(|call| call.contains("rollback") || call.contains("database")),
        "{:?}",
        deeds(&run)
    );
    project.write("standin/failing", "");
    let up = project.run(&["up", "--profile", "many"]);
    up.assert_ended(0);
    assert!(deeds(&up).iter().any(|call| call.starts_with("helm upgrade database")), "{:?}", deeds(&up));
}

#[test]
fn a_database_that_is_down_takes_its_password_when_it_starts() {
    let project = Project::up_with("many");
    project.run(&["down", "--profile", "many"]).assert_ended(0);
    let run = project.run(&ROTATE);
    run.assert_ended(0);
    run.assert_says(&["no pod of the database is ready: it takes the new password when it starts"]);
    assert_whole(&project);
    assert_eq!((run.calls_of(&["kubectl exec"]).len(), deeds(&run).len()), (0, 0));
}

#[test]
fn what_is_exported_makes_the_same_secrets_again() {
    let project = with_database();
    let before = values(&project);
    let run = project.run(&["secrets", "export", "--to", "mine.override.yaml", "--profile", "many", "--verbose"]);
    run.assert_ended(0);
    let file = project.path("mine.override.yaml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(run.stdout.contains("wrote PASSWORD, TOKEN to "), "{}", run.stdout);
    run.assert_says(&["left out DATABASE_URL: it is derived", "left out API_KEY: nobody has given it"]);
    assert_all_secret(&project, &run, &before);
    assert_eq!(run.calls_of(&["kubectl patch", "kubectl create --"]), [""; 0]);

    // Even where the volume is still there that needs the password.
    fs::remove_dir_all(project.path("standin/secrets")).unwrap();
    project.answer("kubectl get persistentvolumeclaims ", r#"echo '{"metadata":{"name":"data-postgres-0"}}'"#);
    let refused = project.run(&["up", "--profile", "many"]);
    refused.assert_ended(1);
    refused.assert_says(&[
        "the volume data-postgres-0 is there, and the Secret",
        "Next: give it again with --override FILE",
    ]);
    let restored = project.run(&["up", "--profile", "many", "--override", file.to_str().unwrap()]);
    restored.assert_ended(0);
    assert_eq!(values(&project), before);
    assert_all_secret(&project, &restored, &before);
}

#[test]
fn a_lost_key_of_a_database_is_not_made_anew_over_its_volume() {
    let project = with_database();
    let database = "standin/secrets/many-database/database";
    project.write(database, "OTHER x\n");
    project.answer("kubectl get persistentvolumeclaims ", r#"echo '{"metadata":{"name":"data-postgres-0"}}'"#);
    let run = project.run(&["up", "--profile", "many"]);
    run.assert_ended(1);
    run.assert_says(&[
        "the volume data-postgres-0 is there, and PASSWORD of the Secret database, which opens it, is not",
    ]);
    assert_eq!((project.read(database), run.changes()), ("OTHER x\n".to_string(), vec![]));
    // What opens no volume is made.
    project.write("standin/secrets/many/app", "API_KEY x\n");
    project.write(database, "PASSWORD 0123\n");
    project.run(&["up", "--profile", "many"]).assert_ended(0);
    assert_whole(&project);
}

#[test]
fn export_writes_only_new_files_that_git_would_not_take() {
    let project = with_database();
    let git = which::which("git").unwrap();
    symlink(&git, project.path("bin/git")).unwrap();
    let in_git = |arguments: &[&str]| {
        let run = Command::new(&git).current_dir(project.path("")).args(arguments).output().unwrap();
        assert!(run.status.success(), "{run:?}");
    };
    in_git(&["init", "--quiet"]);
    project.write(".gitignore", "*.override.yaml\n");
    project.write("tracked.override.yaml", "");
    in_git(&["add", "--force", "tracked.override.yaml"]);
    std::fs::remove_file(project.path("tracked.override.yaml")).unwrap();
    project.write("there.override.yaml", "as it was");
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(project.path(""), elsewhere.path().join("link")).unwrap();
    let linked = elsewhere.path().join("link/plain.yaml");
    for (file, says) in [
        ("plain.yaml", "git does not ignore it"),
        ("tracked.override.yaml", "git does not ignore it"),
        (linked.to_str().unwrap(), "git does not ignore it"),
        ("there.override.yaml", "it must be a new file"),
        ("nowhere/x.override.yaml", "its folder does not exist"),
        ("-", "it must be a new file"),
        ("/dev/stdout", "it must be a new file"),
    ] {
        let run = project.run(&["secrets", "export", "--to", file, "--profile", "many"]);
        run.assert_ended(2);
        run.assert_says(&[says, "Next: name another file"]);
        assert_all_secret(&project, &run, &values(&project));
    }
    assert_eq!(project.read("there.override.yaml"), "as it was");
    assert!(!project.path("plain.yaml").exists() && !project.path("tracked.override.yaml").exists());
    let outside = elsewhere.path().join("mine.yaml");
    for file in ["mine.override.yaml", outside.to_str().unwrap()] {
        project.run(&["secrets", "export", "--to", file, "--profile", "many"]).assert_ended(0);
        assert!(Path::new(&project.path("").join(file)).exists());
    }
}

#[test]
fn an_interrupted_look_at_a_secret_tells_nothing_of_it() {
    let project = with_database();
    let values = values(&project);
    let tell = "while read -r key value; do echo \"$key $(printf %s \"$value\" | base64 | tr -d '\\n')\"; done <secrets/many/app";
    project.before("kubectl get secret app --output go-template={{range", &format!("{tell}; echo x >>asked; sleep 60"));
    let run = project.run_while(&CHECK, |pid| {
        project.write("standin/asked", "");
        project.wait_for_lines("standin/asked", 1);
        kill_process(pid, Signal::INT).unwrap();
    });
    run.assert_ended(130);
    assert_all_secret(&project, &run, &values);
}

/// Values that a person gives, and those that were made: over a life of the profile, in every form of output.
#[test]
fn no_value_of_a_secret_gets_anywhere_but_where_it_belongs() {
    let project = with_database();
    let mut all: Vec<String> = values(&project).into_values().collect();
    let (key, token) = ("sentinel-one-0123456789abcdef", "sentinel-two-0123456789abcdef0123456789");
    project.write(OVERRIDE, &format!("secret:\n  values:\n    API_KEY: {key}\n    TOKEN: {token}\n"));
    let mut runs = Vec::new();
    for command in [
        &["up", "--verbose", "--json"][..],
        &["secrets", "check", "--json"],
        &["secrets", "rotate", "--verbose", "--json"],
        &["secrets", "check", "--verbose"],
        &["secrets", "export", "--to", "mine.override.yaml", "--json"],
        &["up", "--verbose"],
        &["status", "--json"],
        &["history", "--json"],
        &["config", "--explain"],
        &["smoke", "--verbose"],
        &["rollback", "--verbose"],
        &["down", "--verbose"],
        &["up", "--override", "mine.override.yaml", "--verbose", "--json"],
    ] {
        let run = project.run(&[command, &["--profile", "many"]].concat());
        run.assert_ended(0);
        all.extend(values(&project).into_values());
        runs.push(run);
    }
    assert!(all.iter().any(|value| value == key) && all.iter().any(|value| value == token));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    runs.iter().for_each(|run| assert_secret(&project, run, &all));
    assert!(project.files("state").iter().any(|file| file.extension().is_some_and(|ending| ending == "ndjson")));
}

#[test]
fn values_come_from_an_encrypted_file_for_whoever_has_the_key() {
    let project = Project::new();
    let value = "of-an-encrypted-file-0123456789";
    let other = |letter: char| match letter {
        'a'..='z' => char::from((letter as u8 - b'a' + 13) % 26 + b'a'),
        _ => letter,
    };
    let text: String = format!("secret:\n  values:\n    TOKEN: {value}\n").chars().map(other).collect();
    project.write("team.age", &format!("age-encryption.org/v1\n{text}"));
    project.write("team.yaml", &format!("{text}sops:\n  mac: ENC[x]\n"));
    project.write("mine.txt", "bad\n");
    let key = project.path("mine.txt").display().to_string();
    let project = project.env("SOPS_AGE_KEY_FILE", &key);
    let up = |file: &str| {
        let file = project.path(file).display().to_string();
        project.run(&["up", "--profile", "many", "--verbose", "--override", &file])
    };
    let refused = up("team.age");
    refused.assert_ended(1);
    refused.assert_says(&["age can't decrypt", "mine.txt", "Next: have somebody who can open it add your key"]);
    assert_secret(&project, &refused, &[value]);
    assert_eq!(refused.calls_of(&["kubectl create", "minikube start"]), [""; 0]);
    project.write("mine.txt", "good\n");
    for file in ["team.age", "team.yaml"] {
        let run = up(file);
        run.assert_ended(0);
        assert_eq!(secret(&project, "many/app")["TOKEN"], value);
        assert_secret(&project, &run, &[value]);
    }
    project.answer("sops decrypt", "tr a-z n-za-m <\"$last\" >&2; exit 51");
    let changed = up("team.yaml");
    changed.assert_ended(1);
    changed.assert_says(&["sops can't decrypt", "it was changed after it was encrypted", "Next: restore it"]);
    assert_secret(&project, &changed, &[value]);
    fs::remove_file(project.path("bin/age")).unwrap();
    let missing = up("team.age");
    missing.assert_ended(3);
    missing.assert_says(&["is encrypted, and age, which opens it, is not on PATH"]);
}
