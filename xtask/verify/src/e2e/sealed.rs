//! Values in a file that age has encrypted: whoever has the key brings them into the Secret, and nobody else anything.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::secrets::{sentinel, values};
use crate::e2e::world::{World, tells};
use crate::tools::age;
use xtask::run::process::{Output, Spawn};
use xtask::stages::setup;

pub fn open(world: &World) -> Result<()> {
    let folder = world.ctx.staging("sealed");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let proven = open_in(world, &folder);
    // The keys in it open what it holds.
    fs::remove_dir_all(&folder)?;
    proven
}

fn open_in(world: &World, folder: &Path) -> Result<()> {
    let [program] = setup::programs(&world.ctx, ["age"])?;
    let place = Path::new(&program).parent().context("a program lies in a folder")?;
    let keygen = place.join("age-keygen").display().to_string();
    let file = |name: &str| folder.join(name).display().to_string();
    let (own, others, sealed) = (file("own.txt"), file("others.txt"), file("team.yaml.age"));
    for key in [&own, &others] {
        world.run(age::make_key(&keygen, key))?;
    }
    let recipient = world.run(age::recipient(&keygen, &own))?;
    let planted = sentinel()?;
    let text = format!("secret:\n  values:\n    JWT_SECRET: {planted}\n");
    world.run(age::encrypt(&program, &recipient, &sealed).stdin(text))?;

    let up = |key: &str| -> Result<Output> {
        let mut spawn: Spawn = world.spawn.clone();
        let path = std::env::var("PATH").unwrap_or_default();
        spawn.env.push(("PATH".to_string(), format!("{}:{path}", place.display())));
        spawn.env.push(("SOPS_AGE_KEY_FILE".to_string(), key.to_string()));
        let output = world.xtask_by(&spawn, &world.ctx.root, &["up", "--verbose", "--override", &sealed])?;
        ensure!(!output.tail.contains(&planted), "a value of the encrypted file was printed");
        Ok(output)
    };
    let before = world.fingerprint()?;
    let refused = up(&others)?;
    ensure!(refused.code == Some(1), "up ended with {:?} for a key of others\n{}", refused.code, refused.tail);
    tells(&refused, &["age can't decrypt", "Next: have somebody who can open it add your key"])?;
    ensure!(world.fingerprint()? == before, "a key of others changed something\n{}", refused.tail);
    let opened = up(&own)?;
    ensure!(opened.success, "up failed with an encrypted file\n{}", opened.tail);
    ensure!(values(world)?.contains(&planted), "the value did not get into the Secret\n{}", opened.tail);
    Ok(())
}
