//! SIGHUP has the program that is at the binary's path by then take the process over: same process, same arguments.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn a_hang_up_starts_what_is_at_the_programs_path() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp");
    let next = program.with_extension("next");
    fs::copy(env!("CARGO_BIN_EXE_mcp"), &program).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut service = Command::new(&program)
        .env_clear()
        .envs([("PORT", port.as_str()), ("HOST", "127.0.0.1"), ("BACKEND_URL", "http://127.0.0.1:1")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(service.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");

    fs::write(&next, "#!/bin/sh\necho \"another program is process $$, arguments: $#\"\n").unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&next, &program).unwrap();
    let pid = service.id().to_string();
    assert!(Command::new("/bin/kill").args(["-HUP", &pid]).status().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(&format!("another program is process {pid}, arguments: 0")), "{rest}");
    assert!(service.wait().unwrap().success());
}
