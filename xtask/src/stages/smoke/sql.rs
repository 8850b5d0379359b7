//! A query, asked by psql in the pod of the database.

use std::collections::BTreeMap;

use crate::stages::smoke::{Attempt, Cause, Refusal, beginning, fill};
use crate::tools::{kubectl, psql};

/// Returns what was asked, and the rows.
pub fn run_query(attempt: &Attempt, service: &str, query: &str) -> Result<(String, String), Refusal> {
    let world = attempt.world;
    let endpoint = world.addresses.endpoint(service)?;
    let query = fill(query, &quoted(&attempt.saved));
    let asked = format!("SQL \"{query}\" in service/{}", endpoint.object);
    let target = world.ctx.target_in(&endpoint.namespace);
    let object = format!("service/{}", endpoint.object);
    let exec = kubectl::exec_with_stdin(&target, &object, &psql::query());
    let cause = |came: &str| Cause::new(&asked, "an answer", beginning(came));
    let timeout = attempt.timeout();
    match world.ctx.output(exec.within(timeout).stdin(query.as_str())) {
        Ok(output) if output.success => Ok((asked, output.stdout)),
        Ok(output) => Err(match psql::refusal(&output.tail) {
            Some(refused) => Refusal::Wrong(cause(refused)),
            None => Refusal::NotYet(cause(kubectl::refusal_of_pod(&output.tail))),
        }),
        Err(_) => Err(Refusal::NotYet(cause(&format!("no answer within {:.1} s", timeout.as_secs_f64())))),
    }
}

/// What an application answered ends no text of a query.
fn quoted(saved: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    saved.iter().map(|(name, value)| (name.clone(), value.replace('\'', "''"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_ends_no_text_of_a_query() {
        let saved = BTreeMap::from([("id".to_string(), "x'; DROP TABLE tasks; --".to_string())]);
        let filled = fill("SELECT 1 FROM tasks WHERE id = '{id}'", &quoted(&saved));
        assert_eq!(filled, "SELECT 1 FROM tasks WHERE id = 'x''; DROP TABLE tasks; --'");
    }
}
