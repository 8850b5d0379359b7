//! Psql, in the pod of the database.

/// Answers the queries on stdin, a row to a line and its columns apart by `|`. It may read and not write. The pod knows its
/// own password: nothing of it is in an argument.
pub fn query() -> Vec<String> {
    let script = "user=${POSTGRES_USER:-postgres} \
         && PGPASSWORD=${POSTGRES_PASSWORD:-} PGOPTIONS=\"-c default_transaction_read_only=on -c statement_timeout=10s\" \
         exec psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --username \"$user\" \
         --dbname \"${POSTGRES_DB:-$user}\"";
    ["sh", "-c", script].map(str::to_string).to_vec()
}

/// For a person, who may write: with `options` of psql, such as `--command`. The pod knows its own password here too.
pub fn interactive(options: &[String]) -> Vec<String> {
    let script = as_owner("export PSQL_HISTORY=/dev/null; exec psql", "\"$@\"");
    let words = ["sh", "-c", &script, "psql"].map(str::to_string);
    words.into_iter().chain(options.iter().cloned()).collect()
}

/// Runs a program of PostgreSQL as the user and in the database that the pod was made with. The pod knows the password.
fn as_owner(program: &str, options: &str) -> String {
    format!(
        "user=${{POSTGRES_USER:-postgres}}; export PGPASSWORD=${{POSTGRES_PASSWORD:-}}; \
         {program} --username \"$user\" --dbname \"${{POSTGRES_DB:-$user}}\" {options}"
    )
}

/// Before a dump: nothing of what was there stays. Whoever holds a table is waited for, but not for ever.
pub const EMPTIED: &str = "SET lock_timeout = '30s';\nDROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n";

/// Writes schema and rows as SQL, without the rows of some tables.
pub fn dump(without_rows_of: &[String]) -> Vec<String> {
    let script = as_owner("exec pg_dump", "--no-owner --no-privileges \"$@\"");
    let words = ["sh", "-c", &script, "pg_dump"].map(str::to_string);
    words.into_iter().chain(without_rows_of.iter().map(|table| format!("--exclude-table-data={table}"))).collect()
}

/// Runs the SQL on stdin as the database's own user, all of it or nothing. An error repeats no rows.
pub fn run_whole() -> Vec<String> {
    let options = "--no-psqlrc --quiet --output /dev/null --set ON_ERROR_STOP=1 --set VERBOSITY=terse \
                   --single-transaction --file -";
    ["sh", "-c", &as_owner("exec psql", options)].map(str::to_string).to_vec()
}

/// What the server refused in a query; None where the question did not reach it, or it was not ready yet.
pub fn refusal(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.find("ERROR:").map(|start| &line[start..]))
}

/// Runs the statements on stdin as a role that comes by the pod's own socket, and so needs no password.
pub fn run(role: &str, database: &str) -> Vec<String> {
    let options = ["--no-psqlrc", "--quiet", "--no-password", "--set", "ON_ERROR_STOP=1"];
    let all = std::iter::once("psql").chain(options).chain(["--username", role, "--dbname", database, "--file", "-"]);
    all.map(str::to_string).collect()
}

/// Comes by address, as everybody else does, with the password that is the line on stdin.
pub fn sign_in(role: &str, database: &str) -> Vec<String> {
    let script = "IFS= read -r PGPASSWORD; export PGPASSWORD; exec psql --no-psqlrc --quiet --no-password --tuples-only \
                  --host 127.0.0.1 --username \"$0\" --dbname \"$1\" --command \"SELECT 1\"";
    ["sh", "-c", script, role, database].map(str::to_string).to_vec()
}

/// Whether the server has answered that the password is wrong, and not something else.
pub fn is_refused(said: &str) -> bool {
    said.contains("password authentication failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_pods_own() {
        let text = query().join(" ");
        assert!(text.contains("PGPASSWORD=${POSTGRES_PASSWORD:-} "), "{text}");
        let argv = interactive(&["--command".to_string(), "SELECT 1".to_string()]);
        assert!(argv[2].contains("PGPASSWORD=${POSTGRES_PASSWORD:-};"), "{argv:?}");
        assert_eq!(argv[3..], ["psql", "--command", "SELECT 1"]);
    }

    #[test]
    fn a_query_that_is_refused_is_no_server_that_starts() {
        let refused =
            "ERROR:  relation \"none\" does not exist\nLINE 1: SELECT 1 FROM none\ncommand terminated with exit code 3";
        assert_eq!(refusal(refused), Some("ERROR:  relation \"none\" does not exist"));
        assert_eq!(refusal("psql:<stdin>:1: ERROR:  x"), Some("ERROR:  x"));
        let starting = "psql: error: connection to server failed: FATAL:  the database system is starting up";
        assert_eq!(refusal(starting), None);
    }

    #[test]
    fn a_dump_has_the_schema_of_all_tables_and_the_rows_of_most() {
        let argv = dump(&["changes".to_string(), "audit".to_string()]);
        assert_eq!(argv[3..], ["pg_dump", "--exclude-table-data=changes", "--exclude-table-data=audit"]);
        assert!(argv[2].contains("exec pg_dump ") && argv[2].contains("--no-owner"), "{argv:?}");
    }

    #[test]
    fn what_is_restored_is_whole() {
        let [.., script] = &run_whole()[..] else { unreachable!() };
        assert!(script.contains("--single-transaction") && script.contains("ON_ERROR_STOP=1"), "{script}");
    }
}
