//! The caller's own changes as they happen, as server-sent events, whichever replica made them.
//!
//! Every write leaves rows in `task_changes`. Whoever watches has a cursor in them; one look serves all who watch here,
//! and there is none while nobody does.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use serde_json::json;
use sqlx::{FromRow, PgPool, Row, postgres::PgRow};
use time::OffsetDateTime;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, interval_at, sleep, timeout},
};
use tracing::warn;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Task;
use crate::{
    Backend,
    auth::Caller,
    error::{ApiError, ErrorBody},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// For each user, in each replica.
const STREAMS_MAX: usize = 20;
/// How far a client may fall behind; then its stream ends, and it comes again. Whatever is written at once fits.
const QUEUE_MAX: usize = 1_024;
/// Read at once; who has missed more loads the list.
const READ_MAX: i64 = 1_000;
/// Until the changes of other replicas are seen.
const LOOK_MS: u64 = 300;
/// Shorter than proxies wait for a word.
pub const HEARTBEAT_MS: u64 = 15_000;
/// How long a client waits before it comes again.
const RETRY_MS: u64 = 1_000;
/// For who has too many streams.
const RETRY_AFTER_SECONDS: u64 = 5;
const KEPT_MINUTES: i32 = 60;
/// Where changes may have been missed before they went. Shorter than they are kept, for clocks differ.
const MISSED_SECONDS: i64 = 50 * 60;
const PRUNE_MS: u64 = 10 * 60 * 1_000;

pub fn router() -> OpenApiRouter<Backend> {
    OpenApiRouter::new().routes(routes!(watch))
}

/// The changes of the tasks, for those who watch.
pub struct Changes {
    pool: PgPool,
    heartbeat: Duration,
    look: Notify,
    watchers: Mutex<Watchers>,
    /// When all changes until then were passed on, in seconds of Unix.
    seen_at: AtomicI64,
}

type Sender = mpsc::Sender<Arc<Change>>;

#[derive(Default)]
struct Watchers {
    is_followed: bool,
    next: u64,
    /// Grows with each user who wasn't there before.
    arrivals: u64,
    of_users: HashMap<String, Vec<Watcher>>,
}

struct Watcher {
    number: u64,
    session_id: Option<String>,
    sender: Sender,
}

/// A place in the changes: a transaction, and a change in it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Cursor(i64, i64);

#[derive(Debug)]
struct Change {
    cursor: Cursor,
    user_id: String,
    task_id: i32,
    kind: String,
    /// As it is now; none where it is gone, now or by this change.
    task: Option<Task>,
}

/// A place in the changes as a client keeps it, with the time until which it knows of all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EventId {
    cursor: Cursor,
    at: i64,
}

/// Watch the tasks as server-sent events
///
/// `created` and `updated` have the task as it is now, `deleted` has its `id`. `reload` comes first, and whenever changes
/// may have been missed: list the tasks then. After a break, send the last event's id as `Last-Event-ID`, and nothing is
/// missed for 50 minutes. At most 20 streams of a user are open at once in each replica.
#[utoipa::path(
    get, path = "/events", tag = "tasks",
    params(("last-event-id" = Option<String>, Header, description = "The id of the last event that was seen")),
    responses(
        (status = 200, description = "Events without end", body = String, content_type = "text/event-stream"),
        (status = 401, description = "Nobody is signed in", body = ErrorBody),
        (status = 429, description = "Too many streams are open", body = ErrorBody),
        (status = 503, description = "The database is unavailable", body = ErrorBody),
    )
)]
async fn watch(State(backend): State<Backend>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let head = backend.changes.head().await?;
    let (seat, changes) = backend.changes.clone().enter(&caller, head)?;
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).and_then(EventId::parse);
    let last = last.filter(|last| !last.is_lost(head));
    let mut reload = last.is_none().then(|| Event::default().event("reload").data("{}"));
    let mut last = last.unwrap_or(head);
    // After entering: what isn't read here is passed on.
    let mut backlog = backend.changes.read(&[caller.user_id.as_str()], last.cursor).await?;
    if is_full(&backlog) && reload.is_none() {
        reload = Some(Event::default().event("reload").data("{}"));
        last = head;
        backlog = backend.changes.read(&[caller.user_id.as_str()], last.cursor).await?;
    }
    let first = Event::default().retry(Duration::from_millis(RETRY_MS)).id(last.to_string());
    let period = backend.changes.heartbeat;
    let stream = Stream {
        ready: [Some(first), reload].into_iter().flatten().collect(),
        backlog: backlog.into_iter().map(Arc::new).collect(),
        last,
        changes,
        heartbeat: interval_at(Instant::now() + period, period),
        seat,
        caller,
        backend,
    };
    let events = stream::unfold(stream, async |mut stream| {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    // For nginx, wherever there is one.
    Ok(([("x-accel-buffering", "no")], Sse::new(events)).into_response())
}

struct Stream {
    ready: VecDeque<Event>,
    backlog: VecDeque<Arc<Change>>,
    last: EventId,
    changes: mpsc::Receiver<Arc<Change>>,
    heartbeat: tokio::time::Interval,
    seat: Seat,
    caller: Caller,
    backend: Backend,
}

impl Stream {
    /// None when the stream ends: the service stops, the session is over, or the client is too slow.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let change = match self.backlog.pop_front() {
                Some(change) => change,
                None => tokio::select! {
                    biased;
                    () = self.backend.readiness.stopping() => return None,
                    // Before changes, which may come all the time: it is this that ends a session of another replica.
                    _ = self.heartbeat.tick() => return self.beat().await,
                    change = self.changes.recv() => change?,
                },
            };
            // What was missed may come a second time from those who look.
            if change.cursor <= self.last.cursor {
                continue;
            }
            self.last =
                EventId { cursor: change.cursor, at: self.seat.changes.seen_at.load(Relaxed).max(self.last.at) };
            if let Some(event) = change.event() {
                return Some(event.id(self.last.to_string()));
            }
        }
    }

    /// Keeps the connection, and tells the client until when it knows of everything.
    async fn beat(&mut self) -> Option<Event> {
        if !self.caller.is_still_in(&self.backend.database.pool).await.unwrap_or(true) {
            return None;
        }
        self.last.at = self.seat.changes.seen_at.load(Relaxed).max(self.last.at);
        Some(Event::default().comment("").id(self.last.to_string()))
    }
}

/// A place among those who watch, which is left when it is dropped.
struct Seat {
    changes: Arc<Changes>,
    user_id: String,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.changes.watchers().leave(&self.user_id, self.number);
    }
}

impl Changes {
    pub fn new(pool: PgPool, heartbeat_ms: u64) -> Self {
        let heartbeat = Duration::from_millis(heartbeat_ms);
        Self { pool, heartbeat, look: Notify::new(), watchers: Mutex::default(), seen_at: AtomicI64::new(0) }
    }

    /// Looks for changes now instead of in a while.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// Ends the streams of a user here, but those of sessions to keep. Streams in other replicas end with their next
    /// heartbeat.
    pub fn end_streams(&self, user_id: &str, is_kept: impl Fn(Option<&str>) -> bool) {
        self.watchers().end(user_id, is_kept);
    }

    pub async fn prune_forever(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(PRUNE_MS)).await;
            // Before the migrations there is no such table; it is tried again.
            if let Err(err) = self.prune().await {
                warn!("old changes of tasks stay for now: {err}");
            }
        }
    }

    /// Removes what is too old to be taken back or to be missed.
    pub async fn prune(&self) -> Result<u64, sqlx::Error> {
        let pruned = sqlx::query("DELETE FROM task_changes WHERE created_at < now() - make_interval(mins => $1)");
        Ok(pruned.bind(KEPT_MINUTES).execute(&self.pool).await?.rows_affected())
    }

    /// Where a stream begins that has seen nothing: with all that isn't seen by every question asked from now on.
    async fn head(&self) -> Result<EventId, sqlx::Error> {
        let (first_open, at) = sqlx::query_as(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, extract(epoch FROM now())::bigint",
        )
        .fetch_one(&self.pool)
        .await?;
        let first_open: i64 = first_open;
        Ok(EventId { cursor: Cursor(first_open - 1, i64::MAX), at })
    }

    fn enter(self: Arc<Self>, caller: &Caller, head: EventId) -> Result<(Seat, mpsc::Receiver<Arc<Change>>), ApiError> {
        let mut watchers = self.watchers();
        let (number, receiver) = watchers.enter(caller)?;
        if !watchers.is_followed {
            watchers.is_followed = true;
            self.seen_at.store(head.at, Relaxed);
            tokio::spawn(self.clone().follow(head.cursor));
        }
        drop(watchers);
        Ok((Seat { changes: self, user_id: caller.user_id.clone(), number }, receiver))
    }

    /// Passes changes on until nobody watches.
    async fn follow(self: Arc<Self>, mut cursor: Cursor) {
        let mut is_failing = false;
        loop {
            // Whether it was the time or a write here that ended the wait is the same.
            let _ = timeout(Duration::from_millis(LOOK_MS), self.look.notified()).await;
            let Some((users, arrivals)) = self.watchers().users_or_end() else { return };
            let began = OffsetDateTime::now_utc().unix_timestamp();
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            let read = match self.read(&users, cursor).await {
                Ok(read) => read,
                Err(err) => {
                    if !is_failing {
                        warn!("changes of tasks can't be read: {err}");
                    }
                    is_failing = true;
                    continue;
                }
            };
            is_failing = false;
            if self.watchers().arrivals != arrivals {
                // Who has come meanwhile was not asked for, and the cursor would leave his changes behind.
                self.look();
                continue;
            }
            if began - self.seen_at.load(Relaxed) > MISSED_SECONDS {
                // They come again, with an id that is too old.
                self.watchers().of_users.clear();
            }
            if is_full(&read) {
                self.look();
            } else {
                self.seen_at.store(began, Relaxed);
            }
            for change in read {
                cursor = change.cursor;
                self.watchers().pass_on(change);
            }
        }
    }

    /// Those after the cursor that nothing can come before any more.
    async fn read(&self, users: &[&str], cursor: Cursor) -> Result<Vec<Change>, sqlx::Error> {
        sqlx::query(
            "SELECT changes.transaction_id AS change_transaction, changes.id AS change_id, changes.kind AS change_kind,
                 changes.task_id AS change_task, changes.user_id AS change_user, tasks.*
             FROM task_changes AS changes
             LEFT JOIN tasks ON tasks.id = changes.task_id AND tasks.user_id = changes.user_id
             WHERE changes.user_id = ANY($1) AND (changes.transaction_id, changes.id) > ($2, $3)
                 AND changes.transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
             ORDER BY changes.transaction_id, changes.id LIMIT $4",
        )
        .bind(users)
        .bind(cursor.0)
        .bind(cursor.1)
        .bind(READ_MAX)
        .fetch_all(&self.pool)
        .await?
        .iter()
        .map(Change::from_row)
        .collect()
    }

    fn watchers(&self) -> std::sync::MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchers {
    fn enter(&mut self, caller: &Caller) -> Result<(u64, mpsc::Receiver<Arc<Change>>), ApiError> {
        let of_user = self.of_users.entry(caller.user_id.clone()).or_insert_with(|| {
            self.arrivals += 1;
            Vec::new()
        });
        if of_user.len() >= STREAMS_MAX {
            let message = "20 streams of events are open; close one, another tab for instance";
            return Err(ApiError::TooMany("too_many_streams", message, RETRY_AFTER_SECONDS));
        }
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        self.next += 1;
        of_user.push(Watcher { number: self.next, session_id: caller.session_id.clone(), sender });
        Ok((self.next, receiver))
    }

    fn leave(&mut self, user_id: &str, number: u64) {
        if let Some(of_user) = self.of_users.get_mut(user_id) {
            of_user.retain(|watcher| watcher.number != number);
            if of_user.is_empty() {
                self.of_users.remove(user_id);
            }
        }
    }

    fn end(&mut self, user_id: &str, is_kept: impl Fn(Option<&str>) -> bool) {
        if let Some(of_user) = self.of_users.get_mut(user_id) {
            of_user.retain(|watcher| is_kept(watcher.session_id.as_deref()));
        }
    }

    /// None when there is nobody, and then nobody follows any more.
    fn users_or_end(&mut self) -> Option<(Vec<String>, u64)> {
        self.is_followed = !self.of_users.is_empty();
        self.is_followed.then(|| (self.of_users.keys().cloned().collect(), self.arrivals))
    }

    fn pass_on(&mut self, change: Change) {
        let change = Arc::new(change);
        if let Some(of_user) = self.of_users.get_mut(&change.user_id) {
            // Who is too slow comes again, and catches up.
            of_user.retain(|watcher| watcher.sender.try_send(change.clone()).is_ok());
        }
    }
}

impl Change {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let kind: String = row.try_get("change_kind")?;
        let is_there = row.try_get::<Option<i32>, _>("id")?.is_some() && kind != "deleted";
        Ok(Self {
            cursor: Cursor(row.try_get("change_transaction")?, row.try_get("change_id")?),
            user_id: row.try_get("change_user")?,
            task_id: row.try_get("change_task")?,
            kind,
            task: if is_there { Some(Task::from_row(row)?) } else { None },
        })
    }

    /// None for a task that was deleted later: that is a change of its own.
    fn event(&self) -> Option<Event> {
        let data = match (&self.task, self.kind.as_str()) {
            (Some(task), _) => serde_json::to_string(task).expect("a task is JSON"),
            (None, "deleted") => json!({"id": self.task_id}).to_string(),
            (None, _) => return None,
        };
        Some(Event::default().event(&self.kind).data(data))
    }
}

impl EventId {
    fn parse(text: &str) -> Option<Self> {
        let numbers = text.split('-').map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>()?;
        match numbers[..] {
            [transaction, id, at] => Some(Self { cursor: Cursor(transaction, id), at }),
            _ => None,
        }
    }

    /// Whether changes after it may have gone by now, or it is of another database.
    fn is_lost(self, head: Self) -> bool {
        head.at - self.at > MISSED_SECONDS || self.cursor.0 > head.cursor.0
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.cursor.0, self.cursor.1, self.at)
    }
}

fn is_full(read: &[Change]) -> bool {
    i64::try_from(read.len()) == Ok(READ_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(user_id: &str) -> Caller {
        Caller { user_id: user_id.to_owned(), session_id: None, token: None }
    }

    #[test]
    fn streams_of_some_sessions_end() {
        let mut watchers = Watchers::default();
        let mut open = |user_id: &str, session_id: &str| {
            let caller = Caller { session_id: Some(session_id.to_owned()), ..caller(user_id) };
            watchers.enter(&caller).unwrap().1
        };
        let (one, other, another_user) = (open("ann", "one"), open("ann", "other"), open("ben", "third"));
        watchers.end("ann", |session| session == Some("one"));
        assert_eq!([&one, &other, &another_user].map(mpsc::Receiver::is_closed), [false, true, false]);
        watchers.end("ann", |_| false);
        assert!(one.is_closed() && !another_user.is_closed());
    }

    #[test]
    fn an_event_id_is_kept_by_the_client_and_comes_back() {
        let id = EventId { cursor: Cursor(7, 8), at: 9 };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for wrong in ["", "7", "7-8", "7-8-9-10", "7-8-x", "7--8-9", "99999999999999999999-1-1"] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_event_id_is_lost_when_it_is_old_or_of_the_future() {
        let head = EventId { cursor: Cursor(100, i64::MAX), at: 10_000 };
        for (transaction, at, wanted) in [
            (100, 10_000, false),
            (1, 10_000 - MISSED_SECONDS, false),
            (1, 10_000 - MISSED_SECONDS - 1, true),
            (101, 10_000, true),
        ] {
            let id = EventId { cursor: Cursor(transaction, 1), at };
            assert_eq!(id.is_lost(head), wanted, "{id}");
        }
    }

    #[test]
    fn streams_are_bounded_for_each_user() {
        let mut watchers = Watchers::default();
        let mut open: Vec<_> = (0..STREAMS_MAX).map(|_| watchers.enter(&caller("ann")).unwrap()).collect();
        assert!(matches!(watchers.enter(&caller("ann")), Err(ApiError::TooMany("too_many_streams", ..))));
        assert!(watchers.enter(&caller("ben")).is_ok());
        let (number, _) = open.pop().unwrap();
        watchers.leave("ann", number);
        assert!(watchers.enter(&caller("ann")).is_ok());
    }

    #[test]
    fn nobody_is_followed_when_all_have_left() {
        let mut watchers = Watchers { is_followed: true, ..Watchers::default() };
        let (number, _changes) = watchers.enter(&caller("ann")).unwrap();
        assert_eq!(watchers.users_or_end(), Some((vec!["ann".to_owned()], 1)));
        watchers.leave("ann", number);
        assert_eq!(watchers.users_or_end(), None);
        assert!(!watchers.is_followed);
    }

    #[test]
    fn a_look_counts_only_if_nobody_new_has_come_meanwhile() {
        let mut watchers = Watchers::default();
        let _tab = watchers.enter(&caller("ann")).unwrap();
        let (_, arrivals) = watchers.users_or_end().unwrap();
        let _another_tab = watchers.enter(&caller("ann")).unwrap();
        assert_eq!(watchers.arrivals, arrivals);
        let _other = watchers.enter(&caller("ben")).unwrap();
        assert_ne!(watchers.arrivals, arrivals);
    }

    #[test]
    fn who_is_too_slow_is_left_behind() {
        let change = |id| Change {
            cursor: Cursor(1, id),
            user_id: "ann".to_owned(),
            task_id: 1,
            kind: "deleted".to_owned(),
            task: None,
        };
        let mut watchers = Watchers::default();
        let (_, mut slow) = watchers.enter(&caller("ann")).unwrap();
        for id in 0..=i64::try_from(QUEUE_MAX).unwrap() {
            watchers.pass_on(change(id));
        }
        assert!(watchers.of_users["ann"].is_empty());
        let mut got = 0;
        while slow.try_recv().is_ok() {
            got += 1;
        }
        assert_eq!((got, slow.is_closed()), (QUEUE_MAX, true));
    }
}
