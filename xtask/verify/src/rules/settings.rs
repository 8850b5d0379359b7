//! ConfigMaps and Secrets: `cfg.*` and `sec.*`.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::entities::config_map::ConfigMap;
use crate::entities::secret::{Secret, SecretType};
use crate::rules::Place::{Config, Live, Render};
use crate::rules::{Attempt, Checks, Facts, Place, Rule, SAMPLE, leaks};
use xtask::config::placeholders;
use xtask::model::plan::object_label;
use xtask::secrets::judge;
use xtask::secrets::placeholder::is_placeholder;

pub const RULES: &[Rule] = &[
    Rule {
        code: "cfg.exists",
        what: "ConfigMap for env (FR-008)",
        specs: "compact.md#configmaps-for-environment-variables",
        places: &[Render, Live],
        check: exists,
    },
    Rule {
        code: "cfg.keys",
        what: "required keys",
        specs: "rolling.md#configmap-keys, nodeport.md#configmap-keys, microservices.md#configmap-keys, \
                static.md#configmap-keys",
        places: &[Config, Render, Live],
        check: keys,
    },
    Rule {
        code: "cfg.values",
        what: "valid for the application",
        specs: "rolling.md#configmap-values",
        places: &[Config, Render],
        check: sound_values,
    },
    Rule {
        code: "cfg.no_secret",
        what: "nothing sensitive",
        specs: "rolling.md#no-secrets-in-configmaps",
        places: &[Config, Render, Live],
        check: no_secret,
    },
    Rule {
        code: "cfg.independent",
        what: "changes without an image rebuild",
        specs: "rolling.md#configmap-changes",
        places: &[Live],
        check: independent,
    },
    Rule {
        code: "cfg.binary",
        what: "binaryData valid, keys disjoint from data",
        specs: "compact.md#configmap-fields",
        places: &[Render],
        check: binary,
    },
    Rule {
        code: "sec.keys",
        what: "required keys",
        specs: "rolling.md#secret-keys, nodeport.md#secret-keys, microservices.md#secret-keys, \
                static.md#secret-keys",
        places: &[Config, Live],
        check: secret_keys,
    },
    Rule {
        code: "sec.first",
        what: "there before the Deployment",
        specs: "rolling.md#secret-creation",
        places: &[Live],
        check: first,
    },
    Rule {
        code: "sec.git",
        what: "no real value tracked; the override file is ignored",
        specs: "rolling.md#secrets-and-git, nodeport.md#secrets-and-git, microservices.md#secrets-and-git, \
                static.md#secrets-and-git",
        places: &[Config],
        check: git,
    },
    Rule {
        code: "sec.values",
        what: "valid URLs and secrets, no placeholder at install",
        specs: "rolling.md#secret-values, nodeport.md#secret-values, static.md#secret-values",
        places: &[Config, Live],
        check: secret_values,
    },
    Rule {
        code: "sec.supply",
        what: "at install time: file or `--set`",
        specs: "microservices.md#secret-supply, static.md#secret-supply",
        places: &[Config],
        check: supply,
    },
    Rule {
        code: "sec.type",
        what: "Opaque or kubernetes.io/tls",
        specs: "nodeport.md#secret-type, microservices.md#secret-type, compact.md#secret-type",
        places: &[Render, Live],
        check: kind,
    },
    Rule {
        code: "sec.encoding",
        what: "data is base64; stringData plain",
        specs: "rolling.md#secret-encoding, nodeport.md#secret-encoding, microservices.md#secret-encoding, \
                static.md#secret-encoding, compact.md#secret-encoding",
        places: &[Render],
        check: encoding,
    },
];

/// ConfigMaps of the profile's releases. They have no label of a service, only of their release.
fn config_maps<'a>(facts: &'a Facts, place: Place) -> Vec<&'a Value> {
    facts.objects(place, "ConfigMap")
}

/// Name, key and value of everything in them.
fn settings(facts: &Facts, place: Place) -> Vec<(String, String, String)> {
    let of = |map: &Value| {
        let entries = map["data"].as_object().cloned().unwrap_or_default();
        let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        entries.iter().map(|(key, text)| (object_label(map), key.clone(), value(text))).collect::<Vec<_>>()
    };
    config_maps(facts, place).into_iter().flat_map(of).collect()
}

/// The same of the values files, in which braces stand for what helm fills in.
fn written(facts: &Facts) -> Vec<(String, String, String)> {
    let charts = facts.files.iter().flat_map(|files| files.charts.values());
    let maps = charts.filter_map(|chart| chart.values["configMaps"].as_object()).flatten();
    maps.flat_map(|(name, data)| {
        let entries = data.as_object().cloned().unwrap_or_default();
        entries
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| {
                (format!("configmap/{name}"), key, value.as_str().map_or_else(|| value.to_string(), str::to_string))
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

fn exists(facts: &Facts, checks: &mut Checks) {
    for place in facts.places() {
        let there: Vec<&Value> = config_maps(facts, place);
        checks.that(place, &facts.config.profile, !there.is_empty(), || {
            "there is no ConfigMap: describe one under configMaps of its values".to_string()
        });
        for (service, name) in
            facts.spec_services().into_iter().filter_map(|(name, spec)| Some((name, spec.config_map.as_ref()?)))
        {
            let found = there.iter().any(|map| map["metadata"]["name"] == name.as_str());
            checks.that(place, &format!("configmap/{name}"), found, || {
                format!("it is not there, and {service} is to take it: describe it under configMaps of its values")
            });
        }
    }
}

fn keys(facts: &Facts, checks: &mut Checks) {
    let Some(spec) = &facts.config.spec else { return };
    for (name, wanted) in &spec.config_maps {
        let object = format!("configmap/{name}");
        if facts.files.is_some() {
            let written = written(facts);
            for key in wanted.keys() {
                let there = written.iter().any(|(map, known, _)| *map == object && known == key);
                checks.that(Config, &object, there, || {
                    format!("{key} is missing: add it under configMaps.{name} of its values")
                });
            }
        }
        for place in facts.places() {
            let found = settings(facts, place);
            for (key, value) in wanted {
                let there = found.iter().find(|(map, known, _)| *map == object && known == key);
                let wrong = match there {
                    None => Some(format!("{key} is missing: add it under configMaps.{name} of its values")),
                    Some((_, _, text)) if !value.is_empty() && text != value => {
                        Some(format!("{key} is \"{text}\": the data model says \"{value}\""))
                    }
                    Some(_) => None,
                };
                checks.none(place, &object, wrong);
            }
        }
    }
}

fn sound_values(facts: &Facts, checks: &mut Checks) {
    for (map, key, value) in written(facts).into_iter().filter(|(_, _, value)| !value.contains('{')) {
        let wrong = judge::judge_setting(&key, &value).err();
        checks.none(Config, &map, wrong.map(|why| format!("{key} {why}; mend it in its values file")));
    }
    for (map, key, value) in settings(facts, Render) {
        let wrong = judge::judge_setting(&key, &value).err();
        checks.none(Render, &map, wrong.map(|why| format!("{key} {why}; mend it in its values file")));
    }
}

fn no_secret(facts: &Facts, checks: &mut Checks) {
    let keys: BTreeSet<&str> = facts.config.secrets.values().flat_map(|secret| secret.keys()).collect();
    let sources = [(Config, written(facts)), (Render, settings(facts, Render)), (Live, settings(facts, Live))];
    let search = leaks::Search::new(&[]);
    for (place, found) in sources {
        for (map, key, value) in found {
            // A value by which a person, and only a person, is known; where it leads isn't secret.
            let named = keys.contains(key.as_str()) && !key.ends_with("AUTH_URL")
                || ["PASSWORD", "SECRET", "TOKEN", "API_KEY", "PRIVATE_KEY"].iter().any(|word| key.ends_with(word));
            let leak = search.find(&value).into_iter().next().map(|leak| leak.what);
            let why = if named { Some("a secret by its name".to_string()) } else { leak };
            checks.none(place, &map, why.map(|why| format!("{key} is {why}: put it into the Secret")));
        }
    }
}

fn independent(facts: &Facts, checks: &mut Checks) {
    for map in config_maps(facts, Live) {
        let name = map["metadata"]["name"].as_str().unwrap_or_default();
        checks.tried(
            facts,
            &Attempt::ConfigMap(name.to_string()),
            &object_label(map),
            "let it be changed, without `immutable`",
        );
        // What an image has in its environment too would win nowhere and mislead everywhere.
        let baked = facts.images.iter().flatten().find_map(|(service, image)| {
            let env = image.inspect["Config"]["Env"].as_array()?;
            let names = env.iter().filter_map(|entry| entry.as_str()?.split('=').next());
            let secret = |key: &&str| *key != "PORT" && map["data"][*key].is_string();
            Some((service, names.into_iter().find(secret)?.to_string()))
        });
        checks.that(Live, &object_label(map), baked.is_none(), || {
            let (service, key) = baked.unwrap_or_else(|| unreachable!());
            format!("{key} is in the image of {service} too: take it out of its Dockerfile")
        });
    }
}

fn binary(facts: &Facts, checks: &mut Checks) {
    for map in config_maps(facts, Render) {
        let wrong = ConfigMap::from_object(map)
            .err()
            .map(|mistakes| format!("{}: mend it in its values file", mistakes.join("; ")));
        checks.none(Render, &object_label(map), wrong);
    }
}

fn secret_keys(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    let wanted: Vec<(String, Vec<String>)> = match &config.spec {
        Some(spec) => spec.secrets.clone().into_iter().collect(),
        None => config
            .secrets
            .iter()
            .map(|(name, secret)| (name.clone(), secret.keys().map(str::to_string).collect()))
            .collect(),
    };
    for (name, keys) in wanted {
        let object = format!("secret/{name}");
        let known = config.secrets.get(&name);
        for key in &keys {
            let there = known.is_some_and(|secret| secret.keys().any(|known| known == key));
            checks.that_at(config, &format!("secrets.{name}"), &object, there, || {
                format!("{key} is missing: add it to random, derived or given of [secrets.{name}]")
            });
        }
        let Some(live) = &facts.live else { continue };
        // Where a person names something outside in place of a release, its namespace isn't looked at.
        let seen = |secret: &xtask::config::Secret| {
            live.objects
                .iter()
                .any(|object| object["kind"] == "Namespace" && object["metadata"]["name"] == secret.namespace)
        };
        if known.is_some_and(|secret| !seen(secret)) {
            checks.cannot(Live, format!("the namespace of {object} was not looked at"));
            continue;
        }
        let found = live.secrets.get(&name);
        for key in &keys {
            let there = found.is_some_and(|found| found.contains_key(key));
            checks.that(Live, &object, there, || format!("{key} is not in the cluster: cargo xtask up"));
        }
    }
}

fn first(facts: &Facts, checks: &mut Checks) {
    let Some(live) = &facts.live else { return };
    for workload in facts.objects(Live, "Deployment").into_iter().chain(facts.objects(Live, "StatefulSet")) {
        let text = workload.to_string();
        let meta = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
        let same = |secret: &&Value| secret["metadata"]["namespace"] == workload["metadata"]["namespace"];
        for secret in live.secret_objects.iter().filter(same) {
            let name = meta(secret, "name");
            if !text.contains(&format!("\"name\":\"{name}\"")) {
                continue;
            }
            let (made, taken) = (meta(secret, "creationTimestamp"), meta(workload, "creationTimestamp"));
            checks.that(Live, &object_label(workload), made <= taken, || {
                format!("the Secret {name} was made at {made}, after it, at {taken}: make Secrets first")
            });
        }
    }
}

fn git(facts: &Facts, checks: &mut Checks) {
    let Some(files) = &facts.files else { return };
    let overrides = facts.config.overrides.display().to_string();
    // What is encrypted is made for git.
    let is_open = !files.override_sealed;
    checks.that(Config, &overrides, files.override_ignored || !is_open, || {
        "git does not ignore it: add it to .gitignore, as secrets will stand in it".to_string()
    });
    let Some(tracked) = &files.tracked else {
        checks.cannot(Config, "git does not list the tracked files");
        return;
    };
    checks.that(Config, &overrides, !(is_open && tracked.contains(&overrides)), || {
        format!("git tracks it: git rm --cached {overrides}, and change what was in it")
    });
    // All files were looked at; one that leaks has a line.
    checks.that(Config, "tracked files", true, String::new);
    for leak in &files.leaks {
        let (at, what) = leak.split_once(": ").unwrap_or((leak, "a secret"));
        let file = at.split(':').next().unwrap_or(at);
        checks.that(Config, file, false, || {
            format!("{what} stands there: take it out, and change it wherever it is used")
        });
        checks.at(at);
    }
}

fn secret_values(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    for (name, secret) in &config.secrets {
        for (key, template) in &secret.derived {
            let filled = placeholders(template)
                .iter()
                .fold(template.clone(), |text, word| text.replace(&format!("{{{word}}}"), SAMPLE));
            let judged = judge::judge_secret(key, &filled, false);
            let path = format!("secrets.{name}.derived.{key}");
            checks.that_at(config, &path, &format!("secret/{name}"), judged.is_ok(), || {
                format!("{path} {}", judged.err().unwrap_or_default())
            });
        }
    }
    for (release, rendered) in facts.rendered.iter().flatten() {
        if let Some((key, refusal)) = &rendered.placeholder {
            let named = refusal.as_ref().is_some_and(|refusal| refusal.contains(key.as_str()));
            checks.that(Config, release, named, || match refusal {
                None => format!("its chart takes CHANGE_ME as the value of {key}: have it refuse placeholders"),
                Some(other) => format!("its chart refuses CHANGE_ME without naming {key}: it says \"{other}\""),
            });
        }
    }
    for (name, keys) in facts.live.iter().flat_map(|live| &live.secrets) {
        for (key, judged) in keys {
            checks.none(
                Live,
                &format!("secret/{name}"),
                judged.as_ref().err().map(|why| {
                    format!("{key} {why}: write a sound one into {} and run cargo xtask up", config.overrides.display())
                }),
            );
        }
    }
}

fn supply(facts: &Facts, checks: &mut Checks) {
    let config = facts.config;
    for (name, secret) in &config.secrets {
        for key in secret.keys() {
            let made = secret.random.iter().any(|known| known == key)
                || secret.derived.get(key).is_some_and(|text| !placeholders(text).is_empty() || !text.contains('@'));
            let by_file = secret.given.iter().any(|known| known == key);
            checks.that_at(config, &format!("secrets.{name}"), &format!("secret/{name}"), made || by_file, || {
                format!(
                    "{key} stands in the configuration: make it random, derive it, or let {} give it",
                    config.overrides.display()
                )
            });
        }
    }
    for (release, chart) in facts.files.iter().flat_map(|files| &files.charts) {
        let filled = chart.values["secret"]["values"].as_object().is_some_and(|values| {
            values.values().any(|value| value.as_str().is_some_and(|text| !text.is_empty() && !is_placeholder(text)))
        });
        checks.that(Config, release, !filled, || {
            format!("its values files fill secret.values: leave that to {}", config.overrides.display())
        });
    }
}

/// The Secrets that a release renders: its own, those of hooks, and the one that its chart makes where its values ask for it.
fn rendered_secrets<'a>(facts: &'a Facts) -> Vec<&'a Value> {
    let releases = facts.rendered.iter().flat_map(|rendered| rendered.values());
    releases
        .flat_map(|release| {
            let made = release.made_secrets.values().filter_map(|made| made.as_ref().ok()).flatten();
            release.objects.iter().chain(&release.hooks).chain(made)
        })
        .filter(|object| object["kind"] == "Secret")
        .collect()
}

fn kind(facts: &Facts, checks: &mut Checks) {
    let sound = |secret: &Value| {
        let kind = secret["type"].as_str().unwrap_or("Opaque");
        matches!(SecretType::parse(kind), Ok(SecretType::Opaque | SecretType::Tls))
    };
    for secret in rendered_secrets(facts) {
        checks.that(Render, &object_label(secret), sound(secret), || {
            format!("its type is {}: use Opaque or kubernetes.io/tls", secret["type"])
        });
    }
    let Some(live) = &facts.live else { return };
    let ours: BTreeSet<String> = rendered_secrets(facts).iter().map(|secret| object_label(secret)).collect();
    for secret in &live.secret_objects {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        if facts.config.secrets.contains_key(name) || ours.contains(&object_label(secret)) {
            checks.that(Live, &object_label(secret), sound(secret), || {
                format!("its type is {}: use Opaque or kubernetes.io/tls", secret["type"])
            });
        }
    }
}

fn encoding(facts: &Facts, checks: &mut Checks) {
    for (release, rendered) in facts.rendered.iter().flatten() {
        for (field, made) in &rendered.made_secrets {
            let secrets = match made {
                Ok(secrets) => secrets,
                Err(why) => {
                    checks.that(Render, release, false, || format!("its chart makes no Secret with {field}: {why}"));
                    continue;
                }
            };
            for secret in secrets {
                checks.none(Render, &object_label(secret), encoded_wrongly(secret, field));
            }
        }
        for secret in rendered.objects.iter().chain(&rendered.hooks).filter(|object| object["kind"] == "Secret") {
            checks.none(
                Render,
                &object_label(secret),
                Secret::from_object(secret).err().map(|mistakes| mistakes.join("; ")),
            );
        }
    }
}

/// What is wrong with the form of a Secret that was made of samples.
fn encoded_wrongly(secret: &Value, field: &str) -> Option<String> {
    if let Err(mistakes) = Secret::from_object(secret) {
        return Some(format!("it is no sound Secret: {}", mistakes.join("; ")));
    }
    let values = secret[field].as_object().filter(|values| !values.is_empty());
    let Some(values) = values else { return Some(format!("it has nothing in {field}, which was asked for")) };
    let plain = |text: &str| match field {
        "data" => BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
        _ => Some(text.to_string()),
    };
    let wrong = values.iter().find(|(_, value)| value.as_str().and_then(plain).as_deref() != Some(SAMPLE));
    wrong.map(|(key, _)| match field {
        "data" => format!("{key} is not its value in base64: pipe it through b64enc"),
        _ => format!("{key} is not its value as it is: stringData takes plain text"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixture::{Good, assert_found, found, unseen};
    use serde_json::json;

    const MAP: &str = "configmap/todo-config";
    const SECRET: &str = "secret/todo-secret";

    fn breaks(code: &str, place: Place, object: &str, change: impl FnOnce(&mut Good)) {
        assert_found(RULES, code, place, object, change);
    }

    fn codes(change: impl FnOnce(&mut Good)) -> Vec<(&'static str, Place)> {
        found(RULES, change).into_iter().map(|(code, place, _)| (code, place)).collect()
    }

    #[test]
    fn nothing_is_wrong_with_good_settings_and_all_places_are_looked_at() {
        assert_eq!(found(RULES, |_| {}), []);
        assert_eq!(unseen(RULES), []);
    }

    #[test]
    fn a_config_map_that_is_not_there_is_found_with_its_keys() {
        let absent =
            codes(|good| good.rendered.get_mut("todo").unwrap().objects.retain(|object| object["kind"] != "ConfigMap"));
        // None at all, and the one that each of both services takes.
        assert_eq!(
            absent,
            [("cfg.exists", Render), ("cfg.exists", Render), ("cfg.exists", Render), ("cfg.keys", Render)]
        );
    }

    #[test]
    fn missing_keys_and_other_values_are_found() {
        breaks("cfg.keys", Config, MAP, |good| {
            good.files.charts.get_mut("todo").unwrap().values["configMaps"]["todo-config"] = json!({});
        });
        breaks("cfg.keys", Render, MAP, |good| good.rendered(MAP)["data"] = json!({}));
        breaks("cfg.keys", Live, MAP, |good| good.live(MAP)["data"]["LOG_LEVEL"] = json!("debug"));
    }

    #[test]
    fn values_that_no_service_takes_are_found() {
        breaks("cfg.values", Render, MAP, |good| good.rendered(MAP)["data"]["BACKEND_URL"] = json!("backend:8000"));
        breaks("cfg.values", Config, MAP, |good| {
            good.files.charts.get_mut("todo").unwrap().values["configMaps"]["todo-config"]["PORT"] = json!("many");
        });
    }

    #[test]
    fn secrets_in_a_config_map_are_found_and_not_repeated() {
        for place in [Render, Live] {
            breaks("cfg.no_secret", place, MAP, |good| {
                let map = if place == Render { good.rendered(MAP) } else { good.live(MAP) };
                map["data"]["JWT_SECRET"] = json!("x");
            });
        }
        breaks("cfg.no_secret", Config, MAP, |good| {
            good.files.charts.get_mut("todo").unwrap().values["configMaps"]["todo-config"]["SMTP_PASSWORD"] =
                json!("x");
        });
        let token = ["sk-a8F3kQ9zLm2X", "w7Rt5Yb1Nc6V"].concat();
        breaks("cfg.no_secret", Render, MAP, |good| good.rendered(MAP)["data"]["MODEL"] = json!(token));
    }

    #[test]
    fn a_config_map_that_cannot_change_alone_is_found() {
        breaks("cfg.independent", Live, MAP, |good| {
            good.live
                .attempts
                .insert(Attempt::ConfigMap("todo-config".to_string()), Err("field is immutable".to_string()));
        });
        breaks("cfg.independent", Live, MAP, |good| {
            good.images.get_mut("backend").unwrap().inspect["Config"]["Env"]
                .as_array_mut()
                .unwrap()
                .push(json!("LOG_LEVEL=info"));
        });
    }

    #[test]
    fn binary_data_that_is_none_or_stands_twice_is_found() {
        breaks("cfg.binary", Render, MAP, |good| good.rendered(MAP)["binaryData"] = json!({"icon": "no base64"}));
        breaks("cfg.binary", Render, MAP, |good| good.rendered(MAP)["binaryData"] = json!({"LOG_LEVEL": "aW5mbw=="}));
    }

    #[test]
    fn missing_keys_of_a_secret_are_found() {
        breaks("sec.keys", Config, SECRET, |good| {
            good.with_spec(|spec| spec.secrets.get_mut("todo-secret").unwrap().push("OPENAI_API_KEY".to_string()));
            let live = good.live.secrets.get_mut("todo-secret").unwrap();
            live.insert("OPENAI_API_KEY".to_string(), Ok(()));
        });
        breaks("sec.keys", Live, SECRET, |good| {
            drop(good.live.secrets.get_mut("todo-secret").unwrap().remove("JWT_SECRET"))
        });
        breaks("sec.keys", Live, SECRET, |good| drop(good.live.secrets.remove("todo-secret")));
    }

    #[test]
    fn a_secret_made_after_what_takes_it_is_found() {
        breaks("sec.first", Live, "deployment/todo-backend", |good| {
            good.live.secret_objects[0]["metadata"]["creationTimestamp"] = json!("2026-11-21T10:59:00Z");
            good.live("deployment/todo-backend")["metadata"]["creationTimestamp"] = json!("2026-11-21T10:50:00Z");
        });
    }

    #[test]
    fn secrets_in_git_are_found_with_their_lines() {
        breaks("sec.git", Config, "helm/values.yaml", |good| {
            good.files.leaks.push("helm/values.yaml:7: a value of JWT_SECRET".to_string());
        });
        breaks("sec.git", Config, "k8s/profiles/test.override.yaml", |good| good.files.override_ignored = false);
        breaks("sec.git", Config, "k8s/profiles/test.override.yaml", |good| {
            good.files.tracked.as_mut().unwrap().push("k8s/profiles/test.override.yaml".to_string());
        });
        // What is encrypted is made for git.
        let sealed = found(RULES, |good| {
            good.files.tracked.as_mut().unwrap().push("k8s/profiles/test.override.yaml".to_string());
            (good.files.override_ignored, good.files.override_sealed) = (false, true);
        });
        assert!(sealed.iter().all(|(code, ..)| *code != "sec.git"), "{sealed:?}");
    }

    #[test]
    fn values_that_are_none_are_found() {
        breaks("sec.values", Live, SECRET, |good| {
            let live = good.live.secrets.get_mut("todo-secret").unwrap();
            live.insert("JWT_SECRET".to_string(), Err("is a placeholder".to_string()));
        });
        breaks("sec.values", Config, SECRET, |good| {
            let secret = good.config.secrets.get_mut("todo-secret").unwrap();
            secret.derived.insert("BETTER_AUTH_URL".to_string(), "frontend".to_string());
        });
        for refusal in [None, Some("it will not".to_string())] {
            breaks("sec.values", Config, "todo", |good| {
                good.rendered.get_mut("todo").unwrap().placeholder = Some(("JWT_SECRET".to_string(), refusal));
            });
        }
    }

    #[test]
    fn values_in_tracked_files_are_found() {
        breaks("sec.supply", Config, "todo", |good| {
            good.files.charts.get_mut("todo").unwrap().values["secret"]["values"]["JWT_SECRET"] = json!("x");
        });
        let placeholder = codes(|good| {
            good.files.charts.get_mut("todo").unwrap().values["secret"]["values"]["JWT_SECRET"] = json!("CHANGE_ME");
        });
        assert_eq!(placeholder, []);
        breaks("sec.supply", Config, SECRET, |good| {
            let secret = good.config.secrets.get_mut("todo-secret").unwrap();
            secret.derived.insert("DATABASE_URL".to_string(), "postgres://todo:plain@host/todo".to_string());
            secret.given.clear();
        });
    }

    #[test]
    fn another_type_of_secret_is_found() {
        let places = |change: fn(&mut Good)| codes(change);
        assert_eq!(
            places(|good| {
                good.rendered
                    .get_mut("todo")
                    .unwrap()
                    .hooks
                    .push(json!({"kind": "Secret", "metadata": {"name": "x"}, "type": "example.org/x"}));
            }),
            [("sec.type", Render)]
        );
        breaks("sec.type", Live, SECRET, |good| {
            good.live.secret_objects[0]["type"] = json!("kubernetes.io/basic-auth")
        });
    }

    #[test]
    fn another_encoding_is_found() {
        let made = |good: &mut Good, field: &str, value: Value| {
            let secrets = good.rendered.get_mut("todo").unwrap().made_secrets.get_mut(field).unwrap();
            secrets.as_mut().unwrap()[0][field]["JWT_SECRET"] = value;
        };
        breaks("sec.encoding", Render, SECRET, |good| made(good, "data", json!("not base64!")));
        breaks("sec.encoding", Render, SECRET, |good| made(good, "data", json!("b3RoZXI=")));
        let encoded = base64::Engine::encode(&BASE64_STANDARD, SAMPLE);
        breaks("sec.encoding", Render, SECRET, |good| made(good, "stringData", json!(encoded)));
        breaks("sec.encoding", Render, "todo", |good| {
            let secrets = &mut good.rendered.get_mut("todo").unwrap().made_secrets;
            secrets.insert("data".to_string(), Err("additional properties".to_string()));
        });
    }
}
