//! The Secrets that the services read. They are made once, from the system's randomness and from what a person gave, and
//! handed over on stdin before anything reads them; from then on the cluster's copy is the truth.
//!
//! A rotation keeps a new value beside the old one, under `KEY.next`, until the database has it: so it can be ended by
//! whichever run comes next, wherever the one that began it was killed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::config::{Secret, fill, follows, placeholders};
use crate::live;
use crate::live::snapshot::Snapshot;
use crate::model::labels::MANAGED_BY;
use crate::model::plan;
use crate::model::plan::NEXT;
use crate::model::plan::Step;
use crate::run::call::Call;
use crate::run::context::Context;
use crate::run::exit::Stop;
use crate::run::random;
use crate::secrets::database::{Address, ready_taker, set_password, verifier};
use crate::secrets::existing;
use crate::tools::{kubectl, psql};

pub type Values = BTreeMap<String, String>;
/// The Secrets that are there, by name, with their values.
pub type Live<'a> = BTreeMap<&'a String, Values>;

/// A random key that is a role's password in a database of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login {
    pub secret: String,
    pub key: String,
    pub role: String,
    pub database: String,
}

/// What a database says to a password.
#[derive(Clone, Debug, PartialEq)]
pub enum SignIn {
    Opened,
    Refused,
    /// It could not be asked, and why.
    Unasked(String),
}

/// Creates and completes the Secrets of `namespaces`, with the values that a person gives; finishes a rotation that
/// was left. Returns their versions by name, a word each that changes when the Secret does.
pub fn ensure(ctx: &Context, namespaces: &[String], given: &Values) -> Result<BTreeMap<String, String>> {
    if ctx.config.has_secrets() {
        return existing::need(&ctx.config, namespaces, |name, secret| read_secret(ctx, name, secret));
    }
    let wanted: BTreeMap<&String, &Secret> =
        ctx.config.secrets.iter().filter(|(_, secret)| namespaces.contains(&secret.namespace)).collect();
    let mut there = BTreeMap::new();
    for (name, secret) in &wanted {
        if let Some((version, keys)) = read_secret(ctx, name, secret)? {
            there.insert(*name, (version, keys));
        }
    }
    let is_whole = |name: &String, secret: &Secret| {
        let has = |keys: &[String]| secret.keys().all(|key| keys.iter().any(|known| known == key));
        there.get(name).is_some_and(|(_, keys)| has(keys) && !is_begun(keys))
    };
    let concerned = |secret: &Secret| secret.keys().any(|key| given.contains_key(key));
    if wanted.iter().all(|(name, secret)| is_whole(name, secret) && !concerned(secret)) {
        return Ok(there.into_iter().map(|(name, (version, _))| (name.clone(), version)).collect());
    }
    let mut live = Live::new();
    for (name, secret) in wanted.iter().filter(|(name, _)| there.contains_key(*name)) {
        live.insert(name, values(ctx, name, secret)?);
    }
    for (name, secret) in &wanted {
        refuse_lost_password(ctx, name, secret, live.get(name), given)?;
    }
    finish(ctx, &mut live)?;
    for (name, values) in complete(&wanted, &live, given, random::hex::<32>)? {
        match live.get(name) {
            Some(old) if *old == values => {}
            Some(old) => {
                change(ctx, name, old, &values)?;
                ctx.ui.say(&format!("brought the Secret {name} up to date"));
            }
            None => {
                make(ctx, name, &values)?;
                ctx.ui.say(&format!("made the Secret {name} with {} keys", values.len()));
            }
        }
    }
    versions(ctx, wanted.into_keys())
}

/// The versions of those of some Secrets that are there.
pub fn versions<'a>(ctx: &Context, names: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, String>> {
    let version = |name: &String| {
        let found = read_secret(ctx, name, &ctx.config.secrets[name])?;
        Ok(found.map(|(version, _)| (name.clone(), version)))
    };
    names.filter_map(|name| version(name).transpose()).collect()
}

/// All Secrets of the profile that are there, with their values and, by name, the keys whose values are no text.
pub fn look<'a>(ctx: &'a Context) -> Result<(Live<'a>, BTreeMap<&'a String, Vec<String>>)> {
    let (mut live, mut unreadable) = (Live::new(), BTreeMap::new());
    for (name, secret) in &ctx.config.secrets {
        let Some((_, keys)) = read_secret(ctx, name, secret)? else { continue };
        let values = values(ctx, name, secret)?;
        unreadable.insert(name, keys.into_iter().filter(|key| !values.contains_key(key)).collect());
        live.insert(name, values);
    }
    Ok((live, unreadable))
}

/// Gives keys of Secrets other values, each the database's too where it is a password there, and the addresses that hold
/// it. What was begun before is ended with it.
pub fn rotate<'a>(ctx: &'a Context, live: &mut Live<'a>, keys: &[(&'a String, &str)]) -> Result<()> {
    let mut begun: BTreeMap<&String, Values> = BTreeMap::new();
    for (name, key) in keys {
        let next = format!("{key}{NEXT}");
        if live.get(*name).is_some_and(|values| !values.contains_key(&next)) {
            begun.entry(*name).or_default().insert(next, random::hex::<32>()?);
        }
    }
    for (name, values) in begun {
        let old = live.entry(name).or_default();
        let new: Values = old.clone().into_iter().chain(values).collect();
        change(ctx, name, old, &new)?;
        *old = new;
    }
    finish(ctx, live)
}

/// Whether a rotation was begun and not ended.
pub fn is_begun<'a>(keys: impl IntoIterator<Item = &'a String>) -> bool {
    keys.into_iter().any(|key| key.ends_with(NEXT))
}

/// The random keys that some derived address has for its password.
pub fn logins(secrets: &BTreeMap<String, Secret>) -> Vec<Login> {
    let mut found = BTreeSet::new();
    for template in secrets.values().flat_map(|secret| secret.derived.values()) {
        let Some(Address { role, password, name }) = Address::parse(template) else { continue };
        for (owner, key) in secrets.iter().flat_map(|(name, secret)| secret.random.iter().map(move |key| (name, key))) {
            if password == format!("{{{key}}}") {
                let (role, database) = (role.to_string(), name.to_string());
                found.insert(Login { secret: owner.clone(), key: key.clone(), role, database });
            }
        }
    }
    found.into_iter().collect()
}

/// The derived keys that have a key in them, with the names of their Secrets and their templates.
pub fn followers<'a>(
    secrets: &'a BTreeMap<String, Secret>,
    key: &str,
) -> impl Iterator<Item = (&'a String, &'a String, &'a String)> {
    let all = secrets.iter().flat_map(|(name, secret)| secret.derived.iter().map(move |(key, text)| (name, key, text)));
    all.filter(move |(_, _, template)| placeholders(template).contains(&key))
}

/// Comes to the database as everybody else does, with a password.
pub fn sign_in(ctx: &Context, login: &Login, password: &str) -> Result<SignIn> {
    let command_line = psql::sign_in(&login.role, &login.database);
    let Some(call) = in_database(ctx, login, &command_line)? else {
        return Ok(SignIn::Unasked("no pod of the database is ready".to_string()));
    };
    let answer = ctx.output(call.stdin(format!("{password}\n")))?;
    Ok(match answer.success {
        true => SignIn::Opened,
        false if psql::is_refused(&answer.tail) => SignIn::Refused,
        false => SignIn::Unasked(answer.tail.lines().last().unwrap_or("psql said nothing").to_string()),
    })
}

/// Ends what a rotation has begun: first the database, which may be given the same password again; then what is
/// derived; and what is to come goes from its place with the same write that puts it in force.
fn finish<'a>(ctx: &'a Context, live: &mut Live<'a>) -> Result<()> {
    for login in logins(&ctx.config.secrets) {
        let next = |values: &Values| values.get(&format!("{}{NEXT}", login.key)).cloned();
        if let Some(password) = live.get(&login.secret).and_then(next) {
            set(ctx, &login, &password)?;
        }
    }
    let settled = settle(&ctx.config.secrets, live)?;
    let mut order: Vec<&String> = settled.keys().copied().collect();
    order.sort_by_key(|name| is_begun(live[*name].keys()));
    for name in order.into_iter().filter(|name| settled[*name] != live[*name]) {
        change(ctx, name, &live[name], &settled[name])?;
        let message = if is_begun(live[name].keys()) { "has new values" } else { "has them too" };
        ctx.ui.say(&format!("the Secret {name} {message}"));
    }
    *live = settled;
    Ok(())
}

/// All Secrets as they are once what is to come is in force. An address that is not ours stays.
fn settle<'a>(secrets: &BTreeMap<String, Secret>, live: &Live<'a>) -> Result<Live<'a>> {
    let mut settled = live.clone();
    for values in settled.values_mut() {
        let (next, mut rest): (Values, Values) =
            std::mem::take(values).into_iter().partition(|(key, _)| key.ends_with(NEXT));
        rest.extend(next.into_iter().map(|(key, value)| (key.trim_end_matches(NEXT).to_string(), value)));
        *values = rest;
    }
    let begun: BTreeSet<String> =
        live.values().flat_map(Values::keys).filter_map(|key| Some(key.strip_suffix(NEXT)?.to_string())).collect();
    let known = known(secrets, &settled);
    for key in &begun {
        for (name, derived, template) in followers(secrets, key) {
            let Some(value) = settled.get_mut(name).and_then(|values| values.get_mut(derived)) else { continue };
            if follows(template, value) {
                *value = fill(template, &known).map_err(|key| Stop::failed(format!("{key} has no value")))?;
            }
        }
    }
    Ok(settled)
}

/// The values of all random keys.
pub fn known(secrets: &BTreeMap<String, Secret>, live: &Live) -> Values {
    let of = |(name, values): (&&String, &Values)| {
        let random = secrets.get(*name).map(|secret| secret.random.clone()).unwrap_or_default();
        let pairs: Vec<(String, String)> =
            random.into_iter().filter_map(|key| Some((key.clone(), values.get(&key)?.clone()))).collect();
        pairs
    };
    live.iter().flat_map(of).collect()
}

/// What `ensure` would write, and the versions of the Secrets that it would leave as they are.
pub struct Observed {
    pub steps: Vec<Step>,
    pub versions: BTreeMap<String, String>,
}

pub fn observe(ctx: &Context, seen: &Snapshot, namespaces: &[String], given: &Values) -> Result<Observed> {
    if ctx.config.has_secrets() {
        let find = |name: &String, secret: &Secret| Ok(seen.secret(&secret.namespace, name));
        return Ok(Observed { steps: Vec::new(), versions: existing::need(&ctx.config, namespaces, find)? });
    }
    let mut observed = Observed { steps: Vec::new(), versions: BTreeMap::new() };
    for (name, secret) in ctx.config.secrets.iter().filter(|(_, secret)| namespaces.contains(&secret.namespace)) {
        let there = seen.secret(&secret.namespace, name);
        let wanted: Vec<&str> = secret.keys().collect();
        let mut other = Vec::new();
        if there.is_some() && wanted.iter().any(|key| given.contains_key(*key)) {
            let live = values(ctx, name, secret)?;
            let differs =
                |key: &&str| given.get(*key).is_some_and(|value| live.get(*key).is_some_and(|old| old != value));
            other.extend(wanted.iter().copied().filter(differs));
        }
        let keys = there.as_ref().map(|(_, keys)| keys.as_slice());
        match (plan::secret(name, &wanted, keys, &other), there) {
            (Some(step), _) => observed.steps.push(step),
            (None, Some((version, _))) => drop(observed.versions.insert(name.clone(), version)),
            (None, None) => {}
        }
    }
    Ok(observed)
}

/// All Secrets with all their values: the live ones stay, but for those that a person gives; random ones are made; derived
/// ones are filled in.
fn complete<'a>(
    wanted: &BTreeMap<&'a String, &Secret>,
    live: &Live,
    given: &Values,
    mut random: impl FnMut() -> Result<String>,
) -> Result<Live<'a>> {
    let mut all = BTreeMap::new();
    let mut known = Values::new();
    let mut fresh: Vec<&str> = Vec::new();
    for (name, secret) in wanted {
        let old = live.get(*name);
        let mut values = old.cloned().unwrap_or_default();
        for key in secret.keys() {
            if let Some(value) = given.get(key) {
                values.insert(key.to_string(), value.clone());
            }
        }
        for key in &secret.random {
            if !values.contains_key(key) {
                values.insert(key.clone(), random()?);
            }
            if old.and_then(|old| old.get(key)) != values.get(key) {
                fresh.push(key);
            }
            known.insert(key.clone(), values[key].clone());
        }
        for key in &secret.given {
            values.entry(key.clone()).or_default();
        }
        all.insert(*name, values);
    }
    for (name, secret) in wanted {
        let values = all.get_mut(*name).context("every Secret was begun")?;
        for (key, template) in &secret.derived {
            // What was derived from a value that is another one now opens nothing any more.
            let ours = |value: &String| follows(template, value) && !given.contains_key(key);
            let is_fresh = placeholders(template).iter().any(|name| fresh.contains(name));
            if values.get(key).is_some_and(|value| !(is_fresh && ours(value))) {
                continue;
            }
            let text =
                fill(template, &known).map_err(|missing| Stop::failed(format!("{missing} has no value for {key}")))?;
            values.insert(key.clone(), text);
        }
    }
    Ok(all)
}

/// Gives a role of the database its password. Where no pod is ready, the next one takes it from the Secret as it starts.
fn set(ctx: &Context, login: &Login, password: &str) -> Result<()> {
    let command_line = psql::run(&login.role, &login.database);
    let Some(call) = in_database(ctx, login, &command_line)? else {
        ctx.ui.say("no pod of the database is ready: it takes the new password when it starts");
        return Ok(());
    };
    // A server may log the statements that it is sent: the password itself is not in this one.
    let statement = set_password(&login.role, &verifier(password, &random::bytes::<16>()?));
    let answer = ctx.output(call.stdin(statement))?;
    if !answer.success {
        let what = format!("the database did not take another password for {}; it has the one that it had", login.role);
        return Err(Stop::failed(what)
            .with_detail(&format!("{}\nNext: run the same command again", answer.tail))
            .into());
    }
    ctx.ui.say(&format!("the database has a new password for {}", login.role));
    Ok(())
}

/// A command to be run in the pod of the database, which is the one that takes the password under its own key.
fn in_database(ctx: &Context, login: &Login, command_line: &[String]) -> Result<Option<Call>> {
    let target = ctx.target_in(&ctx.config.secrets[&login.secret].namespace);
    let pods = live::objects(ctx, &target, "pods")?;
    let found = pods.iter().find_map(|pod| ready_taker(pod, &login.secret, &login.key));
    Ok(found.map(|(pod, container)| kubectl::exec_with_input(&target, pod, container, command_line)))
}

fn make(ctx: &Context, name: &str, values: &Values) -> Result<()> {
    let target = ctx.target_in(&ctx.config.secrets[name].namespace);
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": name, "labels": { MANAGED_BY: ctx.config.manager() } },
        "stringData": values,
    });
    write(ctx, name, kubectl::create(&target), &object)
}

/// Writes what is new or other, and takes out what is no more, at once.
fn change(ctx: &Context, name: &str, old: &Values, new: &Values) -> Result<()> {
    let target = ctx.target_in(&ctx.config.secrets[name].namespace);
    let other: BTreeMap<&String, &String> = new.iter().filter(|(key, value)| old.get(*key) != Some(value)).collect();
    let gone: Map<String, Value> =
        old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null)).collect();
    let patch =
        if gone.is_empty() { json!({ "stringData": other }) } else { json!({ "data": gone, "stringData": other }) };
    write(ctx, name, kubectl::patch(&target, &format!("secret/{name}"), "merge"), &patch)
}

fn write(ctx: &Context, name: &str, call: Call, object: &Value) -> Result<()> {
    // What kubectl says may repeat what it was given.
    if ctx.output(call.stdin(object.to_string()).confidential())?.success {
        return Ok(());
    }
    let message = format!("kubectl could not write the Secret {name}; its output may hold values and is not shown");
    Err(Stop::failed(format!("{message}\nNext: cargo xtask status")).into())
}

/// The Secret's version and its keys; None where there is none.
fn read_secret(ctx: &Context, name: &str, secret: &Secret) -> Result<Option<(String, Vec<String>)>> {
    ctx.run(kubectl::get_secret_keys(&ctx.target_in(&secret.namespace), name))
}

fn values(ctx: &Context, name: &str, secret: &Secret) -> Result<Values> {
    let call = kubectl::get_secret_values(&ctx.target_in(&secret.namespace), name);
    ctx.spawn.attempt(call)?.map_err(|_| {
        let message = format!("kubectl could not read the Secret {name}; its output may hold values and is not shown");
        Stop::failed(format!("{message}\nNext: cargo xtask status")).into()
    })
}

/// A database keeps the password that it was made with: a new one would lock everybody out of the old data.
fn refuse_lost_password(
    ctx: &Context,
    name: &str,
    secret: &Secret,
    live: Option<&Values>,
    given: &Values,
) -> Result<()> {
    // Of a Secret that is there, only what opens a database was needed before.
    let opens = |key: &str| logins(&ctx.config.secrets).iter().any(|login| login.secret == name && login.key == key);
    let is_lost = |key: &&String| match live {
        Some(values) => !values.contains_key(*key) && opens(key) && !given.contains_key(*key),
        None => !given.contains_key(*key),
    };
    let Some(lost) = secret.random.iter().find(is_lost) else { return Ok(()) };
    let claims = live::objects(ctx, &ctx.target_in(&secret.namespace), "persistentvolumeclaims")?;
    // A shared namespace also has volumes of others.
    let ours = |claim: &&Value| {
        let release = claim["metadata"]["labels"]["app.kubernetes.io/instance"].as_str();
        release.is_none_or(|name| ctx.config.releases.contains_key(name))
    };
    let Some(claim) = claims.iter().find(ours) else { return Ok(()) };
    let volume = claim["metadata"]["name"].as_str().unwrap_or_default();
    let message = match live {
        None => {
            format!("the volume {volume} is there, and the Secret {name} with the password it was made with is not")
        }
        Some(_) => format!("the volume {volume} is there, and {lost} of the Secret {name}, which opens it, is not"),
    };
    Err(Stop::failed(format!(
        "{message}\nNext: give it again with --override FILE, as cargo xtask secrets export writes one, or remove the data \
         with cargo xtask down --purge"
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(random: &[&str], derived: &[(&str, &str)], given: &[&str]) -> Secret {
        let texts = |all: &[&str]| all.iter().map(|text| text.to_string()).collect();
        Secret {
            namespace: "n".into(),
            random: texts(random),
            derived: derived.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect(),
            given: texts(given),
        }
    }

    fn counter() -> impl FnMut() -> Result<String> {
        let mut count = 0;
        move || {
            count += 1;
            Ok(format!("r{count}"))
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn derived_values_carry_the_random_ones_of_any_secret() {
        let (app, database) = ("app".to_string(), "database".to_string());
        let taker = secret(&["TOKEN"], &[("URL", "postgres://u:{PASSWORD}@db/{TOKEN}")], &["KEY"]);
        let owner = secret(&["PASSWORD"], &[], &[]);
        let wanted = BTreeMap::from([(&app, &taker), (&database, &owner)]);
        let made = complete(&wanted, &BTreeMap::new(), &BTreeMap::new(), counter()).unwrap();
        assert_eq!(made[&app], map(&[("TOKEN", "r1"), ("URL", "postgres://u:r2@db/r1"), ("KEY", "")]));
        assert_eq!(made[&database], map(&[("PASSWORD", "r2")]));
    }

    #[test]
    fn live_values_stay_missing_ones_are_added_and_given_ones_win() {
        let (app, database) = ("app".to_string(), "database".to_string());
        let taker = secret(&[], &[("URL", "postgres://{PASSWORD}"), ("OTHER", "{PASSWORD}")], &["KEY"]);
        let owner = secret(&["PASSWORD"], &[], &[]);
        let wanted = BTreeMap::from([(&app, &taker), (&database, &owner)]);
        let live = BTreeMap::from([
            (&app, map(&[("OTHER", "old"), ("KEY", "mine")])),
            (&database, map(&[("PASSWORD", "kept")])),
        ]);
        let made = complete(&wanted, &live, &BTreeMap::new(), counter()).unwrap();
        assert_eq!(made[&app], map(&[("URL", "postgres://kept"), ("OTHER", "old"), ("KEY", "mine")]));
        assert_eq!(made[&database], live[&database]);
        let made =
            complete(&wanted, &live, &map(&[("URL", "postgres://elsewhere"), ("KEY", "new")]), counter()).unwrap();
        assert_eq!(made[&app], map(&[("URL", "postgres://elsewhere"), ("OTHER", "old"), ("KEY", "new")]));
    }

    #[test]
    fn what_is_derived_follows_what_is_made_anew() {
        let app = "app".to_string();
        let taker = secret(&["PASSWORD"], &[("URL", "postgres://{PASSWORD}")], &[]);
        let wanted = BTreeMap::from([(&app, &taker)]);
        let live = BTreeMap::from([(&app, map(&[("URL", "postgres://old")]))]);
        let made = complete(&wanted, &live, &BTreeMap::new(), counter()).unwrap();
        assert_eq!(made[&app]["URL"], "postgres://r1");
        let given = map(&[("URL", "postgres://mine")]);
        assert_eq!(complete(&wanted, &live, &given, counter()).unwrap()[&app]["URL"], "postgres://mine");
    }

    #[test]
    fn what_is_derived_follows_what_a_person_gives_unless_it_is_anothers() {
        let app = "app".to_string();
        let taker = secret(&["PASSWORD"], &[("URL", "postgres://{PASSWORD}@db")], &[]);
        let wanted = BTreeMap::from([(&app, &taker)]);
        let made = |url: &str| {
            let live = BTreeMap::from([(&app, map(&[("PASSWORD", "old"), ("URL", url)]))]);
            complete(&wanted, &live, &map(&[("PASSWORD", "new")]), counter()).unwrap().remove(&app).unwrap()
        };
        assert_eq!(made("postgres://old@db"), map(&[("PASSWORD", "new"), ("URL", "postgres://new@db")]));
        assert_eq!(made("postgres://mine@elsewhere")["URL"], "postgres://mine@elsewhere");
    }

    fn two() -> BTreeMap<String, Secret> {
        BTreeMap::from([
            ("app".to_string(), secret(&["TOKEN"], &[("URL", "postgres://u:{PASSWORD}@db/x")], &["KEY"])),
            ("database".to_string(), secret(&["PASSWORD", "OTHER"], &[], &[])),
        ])
    }

    #[test]
    fn a_login_is_a_random_key_that_is_an_addresss_password() {
        let login =
            |key: &str| Login { secret: "database".into(), key: key.into(), role: "u".into(), database: "x".into() };
        assert_eq!(logins(&two()), [login("PASSWORD")]);
        let mut none = two();
        none.get_mut("app").unwrap().derived = [("URL".to_string(), "http://u:{PASSWORD}@db/x".to_string())].into();
        assert_eq!(logins(&none), []);
    }

    #[test]
    fn what_is_to_come_takes_its_place_and_what_is_derived_follows() {
        let (app, database) = ("app".to_string(), "database".to_string());
        let settled = |url: &str| {
            let live = BTreeMap::from([
                (&app, map(&[("TOKEN", "t"), ("TOKEN.next", "t2"), ("URL", url)])),
                (&database, map(&[("PASSWORD", "p"), ("PASSWORD.next", "p2"), ("OTHER", "o")])),
            ]);
            let settled = settle(&two(), &live).unwrap();
            assert!(!is_begun(settled.values().flat_map(BTreeMap::keys)));
            assert_eq!(settled[&database], map(&[("PASSWORD", "p2"), ("OTHER", "o")]));
            assert_eq!(settled[&app]["TOKEN"], "t2");
            settled[&app]["URL"].clone()
        };
        // Of the old password, of the new one already, and of one that nobody has any more.
        for url in ["postgres://u:p@db/x", "postgres://u:p2@db/x", "postgres://u:lost@db/x"] {
            assert_eq!(settled(url), "postgres://u:p2@db/x");
        }
        assert_eq!(settled("postgres://me:mine@elsewhere/x"), "postgres://me:mine@elsewhere/x");
    }

    #[test]
    fn where_nothing_is_to_come_nothing_changes() {
        let app = "app".to_string();
        let live = BTreeMap::from([(&app, map(&[("TOKEN", "t"), ("URL", "postgres://u:lost@db/x")]))]);
        assert_eq!(settle(&two(), &live).unwrap(), live);
    }

    #[test]
    fn a_given_address_needs_no_database_of_ours() {
        let app = "app".to_string();
        let taker = secret(&[], &[("URL", "postgres://{PASSWORD}")], &[]);
        let wanted = BTreeMap::from([(&app, &taker)]);
        assert!(complete(&wanted, &BTreeMap::new(), &BTreeMap::new(), counter()).is_err());
        let made = complete(&wanted, &BTreeMap::new(), &map(&[("URL", "postgres://x")]), counter()).unwrap();
        assert_eq!(made[&app], map(&[("URL", "postgres://x")]));
    }

    #[test]
    fn random_values_are_long_and_differ() {
        let (first, second) = (random::hex::<32>().unwrap(), random::hex::<32>().unwrap());
        assert_eq!(first.len(), 64);
        assert_ne!(first, second);
    }
}
