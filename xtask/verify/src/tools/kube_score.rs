//! Kube-score.

use serde::Deserialize;
use xtask::run::call::{Call, argv, call};

/// A grade as kube-score gives it: 1 critical, 5 a warning, 7 almost good, 10 good.
const GOOD_ENOUGH: u8 = 7;

/// Scores the manifests on stdin. A limit on CPU is not asked for: it slows what it should protect.
pub fn score(kube_score: &str, kubernetes: &str) -> Call {
    let minor = kubernetes.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    call(argv!("{kube_score} score --output-format json --kubernetes-version v{minor} --ignore-container-cpu-limit -"))
}

/// What was graded a warning or worse: the check's ID, `kind/name`, and what is said of it.
pub fn parse(stdout: &str) -> serde_json::Result<Vec<(String, String, String)>> {
    let objects: Vec<Scored> = serde_json::from_str(stdout)?;
    let mut found = Vec::new();
    for object in objects {
        let name = format!("{}/{}", object.type_meta.kind.to_lowercase(), object.object_meta.name);
        for check in object.checks.iter().filter(|check| !check.skipped && check.grade < GOOD_ENOUGH) {
            let describe = |comment: &Comment| match comment.path.as_str() {
                "" => comment.summary.clone(),
                path => format!("{path}: {}", comment.summary),
            };
            let message: Vec<String> = check.comments.iter().flatten().map(describe).collect();
            found.push((check.check.id.clone(), name.clone(), message.join("; ")));
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Scored {
    type_meta: TypeMeta,
    object_meta: ObjectMeta,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct TypeMeta {
    kind: String,
}

#[derive(Deserialize)]
struct ObjectMeta {
    name: String,
}

#[derive(Deserialize)]
struct Check {
    check: Id,
    grade: u8,
    skipped: bool,
    comments: Option<Vec<Comment>>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Comment {
    path: String,
    summary: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_what_counts() {
        let text = score("kube-score", "1.33.1").text();
        assert!(text.contains("--kubernetes-version v1.33 "), "{text}");
    }

    #[test]
    fn warnings_and_worse_are_read() {
        let check = |id: &str, grade: u8, skipped: bool, comments: &str| {
            format!(
                r#"{{"check":{{"id":"{id}","name":"x"}},"grade":{grade},"skipped":{skipped},"comments":{comments}}}"#
            )
        };
        let comments =
            r#"[{"path":"web","summary":"no limit","description":""},{"path":"","summary":"none","description":""}]"#;
        let checks = [
            check("bad", 1, false, comments),
            check("so-so", 5, false, "null"),
            check("almost", 7, false, "null"),
            check("good", 10, false, "null"),
            check("skipped", 1, true, "null"),
        ];
        let object = format!(
            r#"[{{"object_name":"Deployment/apps/v1/n/web","type_meta":{{"kind":"Deployment"}},"object_meta":{{"name":"web"}},"checks":[{}]}}]"#,
            checks.join(",")
        );
        let found = parse(&object).unwrap();
        let expected = [("bad", "web: no limit; none"), ("so-so", "")];
        assert_eq!(found.len(), expected.len());
        for ((id, object, message), (wanted, summary)) in found.iter().zip(expected) {
            assert_eq!((id.as_str(), object.as_str(), message.as_str()), (wanted, "deployment/web", summary));
        }
    }
}
