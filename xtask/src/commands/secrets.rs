//! `secrets`: what the Secrets of the profile are like, other values for them, and a copy of them. No value of theirs is
//! printed, nor its length.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::commands::private;
use crate::config::{Config, Secret, fill, follows, placeholders};
use crate::live::snapshot::Snapshot;
use crate::run::context::{Context, Project, Scope};
use crate::run::exit::Stop;
use crate::run::lock;
use crate::secrets::judge::judge_secret;
use crate::secrets::overrides;
use crate::secrets::overrides::Overrides;
use crate::secrets::placeholder::is_placeholder;
use crate::secrets::store;
use crate::secrets::store::{Live, SignIn, Values, is_begun, logins};
use crate::stages::deploy;
use crate::stages::deploy::Plan;
use crate::stages::render::RenderInputs;
use crate::stages::{apply, setup};
use crate::stages::{cluster, lease, namespace};
use crate::tools::helm;

/// A Secret or a key of one, and what is to be said of it; an error is what is wrong.
struct KeyState {
    name: String,
    message: Result<String, String>,
}

/// Prints each Secret with its keys, and whether the passwords open the databases. Exits with 1 on any problem.
pub fn check(project: &Project) -> Result<()> {
    let overrides = overrides::read_overrides(project)?;
    let ctx = &ready(project)?;
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let (live, unreadable) = store::look(ctx)?;
    let mut found: Vec<(&String, &Secret, Vec<KeyState>)> = Vec::new();
    for (name, secret) in &ctx.config.secrets {
        let findings = match live.get(name) {
            Some(values) => judge(&ctx.config, name, values, &unreadable[name], &live),
            None => vec![KeyState {
                name: "the Secret".to_string(),
                message: absent(&ctx.config, name, &live, &overrides.secret),
            }],
        };
        found.push((name, secret, findings));
    }
    let mut databases = Vec::new();
    for login in logins(&ctx.config.secrets) {
        let Some(password) = live.get(&login.secret).and_then(|values| values.get(&login.key)) else { continue };
        let message = match store::sign_in(ctx, &login, password)? {
            SignIn::Opened => Ok(format!("{} opens {} for {}", login.key, login.database, login.role)),
            SignIn::Refused => Err(format!("{} does not open {} for {}", login.key, login.database, login.role)),
            SignIn::Unasked(why) => Err(format!("could not be asked whether {} opens it: {why}", login.key)),
        };
        databases.push(KeyState { name: login.database, message });
    }
    let mut lines = Vec::new();
    for (name, secret, findings) in &found {
        lines.push(format!("secret    {name}, namespace {}", secret.namespace));
        lines.extend(findings.iter().map(KeyState::line));
    }
    lines.extend(databases.iter().map(|finding| format!("database\n{}", finding.line())));
    let json = json!({
        "profile": ctx.config.profile,
        "secrets": found.iter().map(|(name, secret, findings)| json!({
            "name": name, "namespace": secret.namespace, "there": live.contains_key(*name),
            "keys": findings.iter().map(KeyState::json).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "databases": databases.iter().map(KeyState::json).collect::<Vec<_>>(),
    });
    ctx.ui.answer(&lines.join("\n"), json);
    let wrong = found.iter().flat_map(|(_, _, all)| all).chain(&databases).filter(|one| one.message.is_err()).count();
    if wrong == 0 {
        return Ok(());
    }
    let profile = &ctx.config.profile;
    let next = match () {
        _ if live.is_empty() => format!("cargo xtask up --profile {profile}"),
        _ if is_begun(live.values().flat_map(Values::keys)) => {
            format!("cargo xtask secrets rotate --profile {profile}")
        }
        _ => format!(
            "cargo xtask up --profile {profile} for what is missing, cargo xtask secrets rotate --profile {profile} for \
             what does not agree"
        ),
    };
    let message = if wrong == 1 { "one thing is".to_string() } else { format!("{wrong} things are") };
    Err(Stop::failed(format!("{message} not as it should be\nNext: {next}")).into())
}

/// Gives the random keys, or those named, other values, and replaces the pods that take them.
pub fn rotate(project: &Project, keys: &[String]) -> Result<()> {
    if project.config.has_secrets() {
        let message = "others make the Secrets of this target, and give them other values";
        return Err(Stop::usage(format!("{message}\nNext: rotate them there, then cargo xtask up")).into());
    }
    refuse_others_keys(&project.config, keys)?;
    let overrides = overrides::read_overrides(project)?;
    let ctx = &ready(project)?;
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let _leases = lease::hold_all(ctx)?;
    namespace::refuse_others(ctx)?;
    let (mut live, _) = store::look(ctx)?;
    need_secrets(ctx, &live)?;
    let (chosen, left) = choose(&ctx.config, &live, &overrides.secret, keys);
    for (key, why) in &left {
        ctx.ui.say(&format!("{key} stays as it is: {why}"));
    }
    if chosen.is_empty() && !is_begun(live.values().flat_map(Values::keys)) {
        return match keys {
            [] => {
                ctx.ui.summary("Nothing to rotate");
                Ok(())
            }
            _ => Err(Stop::failed("none of these keys can be rotated\nNext: cargo xtask secrets check").into()),
        };
    }
    let passwords: Vec<String> = logins(&ctx.config.secrets).into_iter().map(|login| login.key).collect();
    let message: Vec<&str> = chosen.iter().map(|(_, key)| *key).collect();
    for key in message.iter().filter(|key| !passwords.iter().any(|password| password == *key)) {
        ctx.ui.say(&format!("tokens signed with {key} are no longer valid: users must sign in again"));
    }
    let step = ctx.ui.step("rotate the Secrets");
    store::rotate(ctx, &mut live, &chosen)?;
    step.done(&message.join(", "));
    replace_pods(ctx)?;
    ctx.ui.summary("The Secrets have new values, and the running pods use them");
    Ok(())
}

/// Writes what is random or given, which all else follows from, into a file of the form that `--override` takes.
pub fn export(project: &Project, to: &Path) -> Result<()> {
    let path = private::new_path(project, to)?;
    let ctx = &ready(project)?;
    let _lock = lock::hold(ctx, &ctx.config.place())?;
    let (live, _) = store::look(ctx)?;
    need_secrets(ctx, &live)?;
    if is_begun(live.values().flat_map(Values::keys)) {
        let next = format!("Next: cargo xtask secrets rotate --profile {}", ctx.config.profile);
        return Err(
            Stop::failed(format!("an earlier rotation did not finish: some keys have two values\n{next}")).into()
        );
    }
    let (values, left) = exported(&ctx.config, &live).map_err(Stop::failed)?;
    let mut file = private::create(&path)?;
    let written = file.write_all(as_yaml(&ctx.config.profile, &values).as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half of a file is useless.
        let _ = fs::remove_file(&path);
        return Err(error).with_context(|| format!("cannot write {}", to.display()));
    }
    for (key, why) in &left {
        ctx.ui.say(&format!("left out {key}: {why}"));
    }
    let keys: Vec<&str> = values.keys().map(String::as_str).collect();
    let message = format!("wrote {} to {}, which only you can read", keys.join(", "), path.display());
    let next = format!("cargo xtask up --profile {} --override {}", ctx.config.profile, to.display());
    ctx.ui.answer(&format!("{message}\nNext: {next} gives them again"), json!({ "file": path, "keys": keys }));
    Ok(())
}

impl KeyState {
    fn line(&self) -> String {
        let (mark, message) = match &self.message {
            Ok(message) => ("✓", message),
            Err(message) => ("✗", message),
        };
        format!("  {mark} {:<24} {message}", self.name)
    }

    fn json(&self) -> Value {
        let message = self.message.as_ref().unwrap_or_else(|wrong| wrong);
        json!({ "name": self.name, "good": self.message.is_ok(), "state": message })
    }
}

fn ready(project: &Project) -> Result<Context> {
    let ctx = setup::need_tools(project)?;
    cluster::need_serving(&ctx)?;
    Ok(ctx)
}

fn need_secrets(ctx: &Context, live: &Live) -> Result<()> {
    if !live.is_empty() {
        return Ok(());
    }
    let profile = &ctx.config.profile;
    Err(Stop::needs_setup(format!("profile {profile} has no Secret yet\nNext: cargo xtask up --profile {profile}"))
        .into())
}

/// What is to be said of a Secret that is not there.
fn absent(config: &Config, name: &str, live: &Live, given: &Values) -> Result<String, String> {
    let needed = config.secrets[name].keys().any(|key| !is_outside(config, key, live, given));
    if needed { Err("is not there".to_string()) } else { Ok("not needed: the database is one of your own".to_string()) }
}

/// Whether a key is the password of a database in whose place a person names another.
fn is_outside(config: &Config, key: &str, live: &Live, given: &Values) -> bool {
    if !logins(&config.secrets).iter().any(|login| login.key == key) {
        return false;
    }
    let elsewhere = |(name, derived, template): (&String, &String, &String)| {
        let value = given.get(derived).or_else(|| live.get(name)?.get(derived));
        value.map(|value| !follows(template, value))
    };
    let message: Vec<bool> = store::followers(&config.secrets, key).filter_map(elsewhere).collect();
    !message.is_empty() && message.iter().all(|elsewhere| *elsewhere)
}

/// What is to be said of each key of a Secret that is there.
fn judge(config: &Config, name: &str, values: &Values, unreadable: &[String], live: &Live) -> Vec<KeyState> {
    let secret = &config.secrets[name];
    let known = store::known(&config.secrets, live);
    let judge = |key: &str| -> Result<String, String> {
        let Some(value) = values.get(key) else {
            let is_there = unreadable.iter().any(|known| known == key);
            return Err(if is_there { "is not text" } else { "is missing" }.to_string());
        };
        let is_given = secret.given.iter().any(|known| known == key);
        judge_secret(key, value, is_given)?;
        if value.is_empty() {
            return Ok("empty: no value was given".to_string());
        }
        let Some(template) = secret.derived.get(key).filter(|template| !placeholders(template).is_empty()) else {
            return Ok("there".to_string());
        };
        let sources = placeholders(template).join(" and ");
        match fill(template, &known) {
            _ if !follows(template, value) => Ok("there, and your own".to_string()),
            Ok(wanted) if wanted == *value => Ok(format!("there, and agrees with {sources}")),
            Ok(_) => Err(format!("does not agree with {sources}")),
            Err(missing) => Err(format!("follows from {missing}, which is not there")),
        }
    };
    let mut found: Vec<KeyState> =
        secret.keys().map(|key| KeyState { name: key.to_string(), message: judge(key) }).collect();
    let begun = values.keys().filter(|key| is_begun([*key]));
    found.extend(
        begun
            .map(|key| KeyState { name: key.clone(), message: Err("is left from an unfinished rotation".to_string()) }),
    );
    found
}

/// Every name that is no random key is a mistake, with what can be done about it.
fn refuse_others_keys(config: &Config, keys: &[String]) -> Result<()> {
    let random: Vec<&str> = config.secrets.values().flat_map(|secret| &secret.random).map(String::as_str).collect();
    let mistake = |key: &String| {
        let derived = config.secrets.values().find_map(|secret| secret.derived.get(key));
        let is_given = config.secrets.values().any(|secret| secret.given.contains(key));
        match derived {
            _ if random.contains(&key.as_str()) => None,
            Some(template) if placeholders(template).is_empty() => Some(format!("{key} stands in the configuration")),
            Some(template) => Some(format!("{key} follows from {}: rotate that", placeholders(template).join(" and "))),
            None if is_given => {
                Some(format!("{key} is yours to give: write it into {}, then up", config.overrides.display()))
            }
            None => Some(format!("{key} is no key of a Secret of profile {}", config.profile)),
        }
    };
    let mistakes: Vec<String> = keys.iter().filter_map(mistake).collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    let known = if random.is_empty() { "none".to_string() } else { random.join(", ") };
    Err(Stop::usage(format!("{}\nNext: name of these, or none for all: {known}", mistakes.join("\n"))).into())
}

/// A Secret's name and a key of it.
type Chosen<'a> = Vec<(&'a String, &'a str)>;
/// A key, and why nothing is done with it.
type Left<'a> = Vec<(&'a str, String)>;

/// The keys that get other values, with their Secrets, and those that stay, with the reason.
fn choose<'a>(config: &'a Config, live: &Live, given: &Values, keys: &[String]) -> (Chosen<'a>, Left<'a>) {
    let (mut chosen, mut left) = (Vec::new(), Vec::new());
    let all = config.secrets.iter().flat_map(|(name, secret)| secret.random.iter().map(move |key| (name, key)));
    for (name, key) in all.filter(|(_, key)| keys.is_empty() || keys.contains(key)) {
        let why = match () {
            _ if given.contains_key(key) => {
                Some(format!("{} gives it; change it there, then up", config.overrides.display()))
            }
            _ if is_outside(config, key, live, given) => {
                Some("the database is one of your own, and its password yours to change".to_string())
            }
            _ if !live.contains_key(name) => Some(format!("there is no Secret {name}; up makes it")),
            _ => None,
        };
        match why {
            Some(why) => left.push((key.as_str(), why)),
            None => chosen.push((name, key.as_str())),
        }
    }
    (chosen, left)
}

/// Has every release take its Secret that runs with an older one, with all else as it was deployed. A database goes last:
/// connections that are open outlive a change of password, and not a restart.
fn replace_pods(ctx: &Context) -> Result<()> {
    let versions = store::versions(ctx, ctx.config.secrets.keys())?;
    let owners: Vec<String> = logins(&ctx.config.secrets).into_iter().map(|login| login.secret).collect();
    let (last, first): (Vec<Scope>, Vec<Scope>) =
        ctx.scopes().into_iter().partition(|scope| owners.contains(&ctx.config.releases[&scope.release].secret));
    for scopes in [first, last] {
        let mut plans: Vec<Plan> = Vec::new();
        let seen = Snapshot::take(ctx)?;
        let node_ports = deploy::node_ports(ctx, &seen.services())?;
        for scope in scopes {
            if seen.release(&scope)?.is_none() {
                continue;
            }
            let release = &ctx.config.releases[&scope.release];
            let values = ctx.run(helm::values_of(&scope.target, &scope.release))?;
            let values: Value = serde_json::from_str(&values).context("helm printed values that are not JSON")?;
            let version = versions.get(&release.secret).map_or("", String::as_str);
            if values["secret"]["version"] == version {
                continue;
            }
            let tags = tags(&values, &release.services).map_err(|service| {
                let message = format!("release {} does not tell which image {service} has", scope.release);
                Stop::failed(format!(
                    "{message}; its Secrets are new\nNext: cargo xtask up --profile {}",
                    ctx.config.profile
                ))
            })?;
            let overrides =
                Overrides { values: BTreeMap::from([(scope.release.clone(), values)]), ..Overrides::default() };
            let known =
                RenderInputs { tags: &tags, node_ports: &node_ports, secret_version: version, overrides: &overrides };
            plans.push(deploy::observe(ctx, &seen, &scope.release, &known)?);
        }
        if !plans.is_empty() {
            // What served before has values that open nothing any more: going back would be no help.
            apply::carry_out(ctx, &plans, None, true)?;
        }
    }
    Ok(())
}

/// The tags that a release's values give to its services' images; an error names the first service that has none.
fn tags(values: &Value, services: &[String]) -> Result<BTreeMap<String, String>, String> {
    let tag = |service: &String| {
        let of_umbrella = &values["services"][service]["image"]["tag"];
        let tag = of_umbrella.as_str().or_else(|| values["image"]["tag"].as_str());
        tag.map(|tag| (service.clone(), tag.to_string())).ok_or_else(|| service.clone())
    };
    services.iter().map(tag).collect()
}

/// What a file must hold for `up` to make the same Secrets of it, and the keys that are left out, with the reason.
fn exported(config: &Config, live: &Live) -> Result<(Values, Vec<(String, String)>), String> {
    let (mut values, mut left) = (Values::new(), Vec::new());
    for (name, found) in live {
        let secret = &config.secrets[*name];
        for (key, value) in secret.keys().filter_map(|key| Some((key, found.get(key)?))) {
            let template = secret.derived.get(key);
            let why = match () {
                _ if value.is_empty() => Some("nobody has given it".to_string()),
                _ if is_placeholder(value) => Some("it is still a placeholder".to_string()),
                _ if template.is_some_and(|template| follows(template, value)) => Some("it is derived".to_string()),
                _ => None,
            };
            match why {
                Some(why) => left.push((key.to_string(), why)),
                None => {
                    if values.insert(key.to_string(), value.clone()).is_some_and(|other| other != *value) {
                        return Err(format!(
                            "{key} has one value in {name} and another elsewhere, and a file can hold one\n\
                             Next: cargo xtask secrets rotate {key} --profile {}",
                            config.profile
                        ));
                    }
                }
            }
        }
    }
    Ok((values, left))
}

/// A string of JSON is one of YAML too, whatever it holds.
fn as_yaml(profile: &str, values: &Values) -> String {
    let lines: String = values.iter().map(|(key, value)| format!("    {key}: {}\n", json!(value))).collect();
    format!("# The Secrets' values of profile {profile}. Keep this file to yourself.\nsecret:\n  values:\n{lines}")
}
