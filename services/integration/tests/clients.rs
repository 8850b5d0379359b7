//! Clients that others have written, against the real services and a real PostgreSQL. `cargo xtask test` installs them and
//! says where they are; where it can't, they are left out.

#[path = "../../backend/tests/common/mod.rs"]
mod common;

use std::{env, path::Path, process::Stdio, time::Duration};

use kit::{client::client, serve::Readiness, url::BaseUrl};
use mcp::Mcp;
use tokio::process::Command;

use common::{hs256, migrated, serve, sign_up, titles_as, with_database};

/// Many times what they take: one that hangs is ended.
const TIMEOUT: Duration = Duration::from_secs(300);
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// Runs it to its end, and returns what it printed. A failure shows all of that.
async fn run(mut command: Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("it came to no end within {TIMEOUT:?}")).unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{}:\n{text}", output.status);
    text
}

/// Where something is installed, by a variable; None where it was left out.
fn installed(variable: &str) -> Option<String> {
    let place = env::var(variable).ok().filter(|place| !place.is_empty());
    if place.is_none() {
        println!("{variable} is not set: nothing was asked");
    }
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs TEST_DATABASE_URL and MCP_SDK; cargo xtask test provides them"]
async fn the_protocols_own_client_calls_each_tool() {
    let Some(sdk) = installed("MCP_SDK") else { return };
    with_database(async move |config| {
        let (_, app) = migrated(&hs256(config)).await;
        let token = sign_up(&app, "ann@example.org").await;
        let backend_url = BaseUrl::parse(&serve(app.clone()).await).unwrap();
        let mcp = mcp::app(Mcp { backend_url, client: client(), readiness: Readiness::default() }, &[]);
        let mut node = Command::new("node");
        node.arg(Path::new(HERE).join("tools.mjs"));
        node.env("MCP_SDK", sdk).env("MCP_URL", format!("{}/mcp", serve(mcp).await)).env("TOKEN", &token);
        let text = run(node).await;
        let tools = "tools: add_task complete_task delete_task get_task list_tasks move_task reopen_task search_tasks \
            undo_change update_task";
        assert_eq!(text.lines().last(), Some(tools), "{text}");
        assert_eq!(titles_as(&token, &app, "?sort=position").await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs TEST_DATABASE_URL and SCHEMATHESIS; cargo xtask test provides them"]
async fn schemathesis_finds_nothing() {
    let Some(environment) = installed("SCHEMATHESIS") else { return };
    with_database(async move |config| {
        let (_, app) = migrated(&hs256(config)).await;
        let mut python = Command::new(Path::new(&environment).join("bin/python"));
        python.args(["-m", "schemathesis.cli", "--config-file"]).arg(Path::new(HERE).join("schemathesis.toml"));
        for variable in ["TOKEN", "SIGN_OUT_TOKEN", "USER_TOKEN", "SESSIONS_TOKEN"] {
            python.env(variable, sign_up(&app, &format!("{variable}@example.org")).await);
        }
        python.arg("run").arg(format!("{}/docs/openapi.json", serve(app).await)).env("NO_COLOR", "1");
        // It keeps files where it runs.
        python.current_dir(env!("CARGO_TARGET_TMPDIR"));
        println!("{}", run(python).await);
    })
    .await;
}
