//! Values in a file that age or SOPS has encrypted: whoever has the key brings them into the Secret, and nobody else anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::e2e::secrets::{CONTROL, in_no_file, sentinel, values};
use crate::e2e::world::{World, tells};
use crate::tools::{age, sops};
use xtask::run::process::{Output, Spawn};
use xtask::stages::setup;

/// What both programs are tried with: two keys, and what is encrypted for one of them.
struct Sealed<'a> {
    world: &'a World,
    folder: PathBuf,
    /// Where the programs are that open the files.
    places: Vec<PathBuf>,
    age: String,
    own: String,
    others: String,
    recipient: String,
    planted: String,
}

pub fn by_age(world: &World) -> Result<()> {
    in_folder(world, &[], |sealed| {
        let file = sealed.file("team.yaml.age");
        world.run(age::encrypt(&sealed.age, &sealed.recipient, &file).stdin(values_with(&sealed.planted)))?;
        sealed.opens(&file, "age can't decrypt")
    })
}

pub fn by_sops(world: &World) -> Result<()> {
    let [program] = setup::programs(&world.ctx, ["sops"])?;
    in_folder(world, &[folder_of(&program)?], |sealed| {
        let encrypt = |named: &str, value: &str| -> Result<String> {
            let file = sealed.file(named);
            world.run(sops::encrypt(&program, &sealed.recipient, named, &file).stdin(values_with(value)))?;
            Ok(file)
        };
        let file = encrypt("team.yaml", &sealed.planted)?;
        sealed.opens(&file, "sops can't decrypt")?;
        // Somebody who has the key writes a value into it by hand.
        let text = fs::read_to_string(&file)?;
        let changed = sealed.file("changed.yaml");
        fs::write(&changed, text.replace("secret:\n", "replicas: 2\nsecret:\n"))?;
        let before = world.fingerprint()?;
        let refused = sealed.run(&["up"], &sealed.own, &changed)?;
        ensure!(
            refused.code == Some(1),
            "up ended with {:?} for a file that was changed\n{}",
            refused.code,
            refused.tail
        );
        tells(&refused, &["it was changed after it was encrypted", "Next: restore it"])?;
        ensure!(world.fingerprint()? == before, "a file that was changed changed something\n{}", refused.tail);
        // Of other formats than YAML, the last of a file whose name has no ending. What is in the Secret is no news.
        for named in ["team.json", "team"] {
            let other = sentinel()?;
            for (value, says) in [(&sealed.planted, "nothing to do"), (&other, "JWT_SECRET")] {
                let planned = sealed.run(&["plan"], &sealed.own, &encrypt(named, value)?)?;
                ensure!(planned.success && !planned.tail.contains(value), "plan failed with {named}\n{}", planned.tail);
                tells(&planned, &[says])?;
            }
        }
        Ok(())
    })
}

/// Makes the keys, and removes them with all that they open.
fn in_folder(world: &World, places: &[PathBuf], prove: impl FnOnce(&Sealed) -> Result<()>) -> Result<()> {
    let folder = world.ctx.staging("sealed");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let proven = Sealed::new(world, &folder, places).and_then(|sealed| prove(&sealed));
    fs::remove_dir_all(&folder)?;
    proven
}

impl<'a> Sealed<'a> {
    fn new(world: &'a World, folder: &Path, places: &[PathBuf]) -> Result<Sealed<'a>> {
        let [age] = setup::programs(&world.ctx, ["age"])?;
        let place = folder_of(&age)?;
        let keygen = place.join("age-keygen").display().to_string();
        let [own, others] = ["own.txt", "others.txt"].map(|name| folder.join(name).display().to_string());
        for key in [&own, &others] {
            world.run(age::make_key(&keygen, key))?;
        }
        let recipient = world.run(age::recipient(&keygen, &own))?;
        let places = places.iter().cloned().chain([place]).collect();
        let (folder, planted) = (folder.to_path_buf(), sentinel()?);
        Ok(Sealed { world, folder, places, age, own, others, recipient, planted })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A command with a file of values, for whoever has a key.
    fn run(&self, command: &[&str], key: &str, file: &str) -> Result<Output> {
        let mut spawn: Spawn = self.world.spawn.clone();
        let places = self.places.iter().map(|place| place.display().to_string());
        let path = places.chain(std::env::var("PATH")).collect::<Vec<_>>().join(":");
        spawn.env.push(("PATH".to_string(), path));
        spawn.env.push(("SOPS_AGE_KEY_FILE".to_string(), key.to_string()));
        let all = [command, &["--verbose", "--override", file]].concat();
        let output = self.world.xtask_by(&spawn, &self.world.ctx.root, &all)?;
        ensure!(!output.tail.contains(&self.planted), "a value of the encrypted file was printed");
        Ok(output)
    }

    /// The value gets into the Secret by the own key, nothing by that of others, and it is in no file.
    fn opens(&self, file: &str, refusal: &str) -> Result<()> {
        let world = self.world;
        let before = world.fingerprint()?;
        let refused = self.run(&["up"], &self.others, file)?;
        ensure!(refused.code == Some(1), "up ended with {:?} for a key of others\n{}", refused.code, refused.tail);
        tells(&refused, &[refusal, "Next: have somebody who can open it add your key"])?;
        ensure!(world.fingerprint()? == before, "a key of others changed something\n{}", refused.tail);
        let opened = self.run(&["up"], &self.own, file)?;
        ensure!(opened.success, "up failed with an encrypted file\n{}", opened.tail);
        ensure!(values(world)?.contains(&self.planted), "the value did not get into the Secret\n{}", opened.tail);
        let control = self.folder.join(CONTROL);
        fs::write(&control, &self.planted)?;
        in_no_file(world, &BTreeSet::from([self.planted.clone()]), &control)
    }
}

/// A file of values as a person writes it. It is YAML by being JSON.
fn values_with(value: &str) -> String {
    serde_json::json!({ "secret": { "values": { "JWT_SECRET": value } } }).to_string()
}

fn folder_of(program: &str) -> Result<PathBuf> {
    Ok(Path::new(program).parent().context("a program lies in a folder")?.to_path_buf())
}
