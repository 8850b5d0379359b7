//! The pool, and the migrations that run before it is used.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::config::Config;

const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// A request is answered with 503 rather than kept waiting for a connection.
const ACQUIRE_TIMEOUT_MS: u64 = 3_000;
/// Shorter than the second that a probe waits by default, so that the reason gets through.
const CHECK_TIMEOUT_MS: u64 = 900;
const STATEMENT_TIMEOUT: &str = "10s";
/// A migration that finds its table locked, or another process migrating, gives up and is tried again.
const MIGRATION_LOCK_TIMEOUT: &str = "30s";
const RETRY_FIRST_MS: u64 = 250;
const RETRY_LONGEST_MS: u64 = 2_000;

#[derive(Clone, Debug)]
pub struct Database {
    pub pool: PgPool,
    connect: PgConnectOptions,
    /// Why requests can't be served yet; nothing once the migrations are done.
    obstacle: Arc<RwLock<Option<String>>>,
}

impl Database {
    /// Connects to nothing yet.
    pub fn open(config: &Config) -> Self {
        let connect = config.database.clone().application_name("backend");
        let pool = PgPoolOptions::new()
            .max_connections(config.database_max_connections)
            .acquire_timeout(Duration::from_millis(ACQUIRE_TIMEOUT_MS))
            .connect_lazy_with(connect.clone().options([("statement_timeout", STATEMENT_TIMEOUT)]));
        let obstacle = Some("the migrations haven't run yet".to_owned());
        Self { pool, connect, obstacle: Arc::new(RwLock::new(obstacle)) }
    }

    /// Never gives up: the database may come later than the backend, and `/ready` tells the reason meanwhile.
    pub async fn migrate_until_done(self) {
        let mut wait_ms = RETRY_FIRST_MS;
        loop {
            match self.migrate().await {
                Ok(()) => return info!("migrations done"),
                Err(reason) => {
                    warn!(retry_ms = wait_ms, "{reason}");
                    self.set_obstacle(Some(reason));
                }
            }
            sleep(Duration::from_millis(wait_ms)).await;
            wait_ms = (wait_ms * 2).min(RETRY_LONGEST_MS);
        }
    }

    /// Runs what is missing, under sqlx's advisory lock: replicas that start together wait for one another. A connection
    /// of its own, because the lock belongs to the session: a failure must end both.
    pub async fn migrate(&self) -> Result<(), String> {
        let options = self.connect.clone().options([("lock_timeout", MIGRATION_LOCK_TIMEOUT)]);
        let mut connection = timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), PgConnection::connect_with(&options))
            .await
            .map_err(|_| format!("the database can't be reached within {CONNECT_TIMEOUT_MS} ms"))?
            .map_err(|err| format!("the database can't be reached: {err}"))?;
        let mut migrator = sqlx::migrate!();
        // A newer release may have been here: an upgrade under way, or a rollback. Its schema is a superset of ours, as
        // each has been since 0002, which gave tasks other ids.
        migrator.set_ignore_missing(true);
        // Not `run`, which can't be awaited in a spawned task with a bare connection. What is dropped is closed.
        let migrated = migrator.run_direct(None, &mut connection, false).await;
        migrated.map_err(|err| format!("the migrations failed: {err}"))?;
        self.set_obstacle(None);
        Ok(())
    }

    pub fn migrated(&self) -> Result<(), String> {
        match self.obstacle.read().expect("no panic while it is held").clone() {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    /// Whether requests could be served now.
    pub async fn check(&self) -> Result<(), String> {
        self.migrated()?;
        match timeout(Duration::from_millis(CHECK_TIMEOUT_MS), sqlx::query("SELECT 1").execute(&self.pool)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(err)) => Err(format!("the database doesn't answer: {err}")),
            Err(_) => Err(format!("the database doesn't answer within {CHECK_TIMEOUT_MS} ms")),
        }
    }

    fn set_obstacle(&self, reason: Option<String>) {
        *self.obstacle.write().expect("no panic while it is held") = reason;
    }
}
