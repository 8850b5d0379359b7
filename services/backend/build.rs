//! Without this, cargo doesn't see a migration that was added: `migrate!` reads a folder.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
