//! SIGHUP has the program that is at the binary's path by then take the process over: same process, same arguments. Until
//! then it serves metrics on a port of their own.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

const TRACE: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

fn free_ports() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port().to_string())
}

fn ask(port: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{TRACE}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_hang_up_starts_what_is_at_the_programs_path() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp");
    let next = program.with_extension("next");
    fs::copy(env!("CARGO_BIN_EXE_mcp"), &program).unwrap();
    let [port, metrics_port] = free_ports();
    let mut service = Command::new(&program)
        .env_clear()
        .envs([("PORT", port.as_str()), ("METRICS_PORT", &metrics_port), ("HOST", "127.0.0.1")])
        .env("BACKEND_URL", "http://127.0.0.1:1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(service.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("metrics"), "{line}");
    let metrics = ask(&metrics_port, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains(r#"service_info{name="mcp","#), "{metrics}");
    // Neither port has what is the other's.
    for (port, path, status) in [(&metrics_port, "/health", 404), (&port, "/metrics", 404), (&port, "/health", 200)] {
        assert!(ask(port, path).starts_with(&format!("HTTP/1.1 {status}")), "{path}");
    }

    fs::write(&next, "#!/bin/sh\necho \"another program is process $$, arguments: $#\"\n").unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&next, &program).unwrap();
    let pid = service.id().to_string();
    assert!(Command::new("/bin/kill").args(["-HUP", &pid]).status().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(&format!("another program is process {pid}, arguments: 0")), "{rest}");
    assert!(service.wait().unwrap().success());
    let line = rest.lines().find(|line| line.contains("\"request\"")).unwrap();
    assert!(line.starts_with(r#"{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":""#), "{line}");
}
