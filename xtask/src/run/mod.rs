//! What every command runs on: processes, waits, locks, tasks, the terminal, exit codes, and the context that is handed
//! down.

pub mod annotation;
pub mod answers;
pub mod call;
pub mod clock;
pub mod context;
pub mod digest;
pub mod exit;
pub mod files;
pub mod graph;
pub mod http;
pub mod keys;
pub mod lock;
pub mod poll;
pub mod process;
pub mod random;
pub mod record;
pub mod stream;
pub mod ui;
pub mod watch;
