//! Logs: one JSON object a line on stdout.

use tracing::{Level, error, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The crates of this workspace; the others' words at debug and below would drown theirs.
const OWN_TARGETS: [&str; 4] = ["kit", "backend", "frontend", "mcp"];

/// May be called once in a process.
pub fn start(level: Level) {
    let others = LevelFilter::from_level(level.min(Level::INFO));
    let own = OWN_TARGETS.map(|target| (target, level));
    let filter = Targets::new().with_default(others).with_targets(own);
    let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panic: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}
