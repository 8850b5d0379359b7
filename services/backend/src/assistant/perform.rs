//! Carries out requests with the tasks' store: the one place where the assistant touches tasks.

use time::PrimitiveDateTime;

use super::{
    Place,
    understanding::{Change, Due, Filter, Known, New, NewDue, Request},
};
use crate::{
    error::ApiError,
    tasks::{
        self, Sort, Task,
        store::{self, Draft},
        valid_tags, valid_title,
    },
};

/// More are not referred to by their titles.
const TASKS_MAX: i64 = 2_000;

/// What came of a request.
pub struct Outcome {
    pub done: Done,
    /// What takes it back, in the order in which it was done.
    pub undo: Vec<String>,
}

pub enum Done {
    Added(Task),
    Listed(Filter, Vec<Task>),
    Counted(Filter, usize),
    Found(String, Vec<Task>),
    Shown(Vec<Task>),
    Completed(Vec<Task>),
    Reopened(Vec<Task>),
    Deleted(Vec<Task>),
    /// With the title that it had.
    Renamed(Task, String),
    Changed(Vec<Task>, Change),
    /// The best to do next, and why.
    Next(Option<(Task, &'static str)>),
    /// What is as it was, what is gone again, and whether that is all of it.
    Undone {
        tasks: Vec<Task>,
        deleted: Vec<i32>,
        all: bool,
    },
    /// It can't be, and why.
    Refused(String),
    Helped,
    Thanked,
}

impl Outcome {
    /// The tasks that it speaks of, in their order; those that are gone are spoken of no more.
    pub fn spoken(&self) -> Option<Vec<i32>> {
        let ids = |tasks: &[Task]| Some(tasks.iter().map(|task| task.id).collect());
        match &self.done {
            Done::Added(task) | Done::Renamed(task, _) | Done::Next(Some((task, _))) => Some(vec![task.id]),
            Done::Listed(_, tasks) | Done::Found(_, tasks) if tasks.is_empty() => None,
            Done::Listed(_, tasks)
            | Done::Found(_, tasks)
            | Done::Shown(tasks)
            | Done::Completed(tasks)
            | Done::Reopened(tasks)
            | Done::Changed(tasks, _)
            | Done::Undone { tasks, .. } => ids(tasks),
            Done::Deleted(_) => Some(Vec::new()),
            _ => None,
        }
    }
}

/// The time in the user's zone; the database knows the zones.
pub async fn now(place: Place<'_>) -> Result<PrimitiveDateTime, ApiError> {
    let now = sqlx::query_scalar("SELECT now() AT TIME ZONE $1").bind(place.time_zone).fetch_one(place.pool).await?;
    Ok(now)
}

/// All that can be spoken of, newest first.
pub async fn all_tasks(place: Place<'_>) -> Result<Vec<Task>, ApiError> {
    store::find(place.pool, place.user_id, &store::Filter::default(), Sort::Created, None, TASKS_MAX).await
}

pub fn known(task: &Task) -> Known {
    Known {
        id: task.id,
        title: task.title.clone(),
        completed: task.completed,
        priority: task.priority,
        due: task.due_on.map(|date| Due { date, time: task.due_time }),
        tags: task.tags.clone(),
    }
}

/// What the user can put right is an outcome, and no error. `undo` takes back what was done before.
pub async fn perform(
    place: Place<'_>,
    request: Request,
    now: PrimitiveDateTime,
    undo: &[String],
) -> Result<Outcome, ApiError> {
    match attempt(place, request, now, undo).await {
        Err(ApiError::Invalid(reason)) => Ok(refused(format!("That can't be: {reason}."))),
        Err(ApiError::NotFound(_)) => Ok(refused("There is no such task. \"list\" shows the numbers.".to_owned())),
        outcome => outcome,
    }
}

fn refused(reason: String) -> Outcome {
    Outcome { done: Done::Refused(reason), undo: Vec::new() }
}

async fn attempt(
    place: Place<'_>,
    request: Request,
    now: PrimitiveDateTime,
    undo: &[String],
) -> Result<Outcome, ApiError> {
    let done = match request {
        Request::Add(new) => return add(place, new).await,
        Request::Rename { id, title } => return rename(place, id, &title).await,
        Request::Complete { ids } => return each(place, Write::Complete(true), &ids).await,
        Request::Reopen { ids } => return each(place, Write::Complete(false), &ids).await,
        Request::Delete { ids } => return each(place, Write::Delete, &ids).await,
        Request::Change { ids, change } => return each(place, Write::Change(change), &ids).await,
        Request::Undo => return take_back(place, undo).await,
        Request::List(filter) => {
            let mut tasks = fitting(place, &filter, now).await?;
            if filter.due.is_some() || filter.overdue {
                tasks.sort_by_key(|task| (task.due_on, task.due_time));
            }
            Done::Listed(filter, tasks)
        }
        Request::Count(filter) => {
            let count = fitting(place, &filter, now).await?.len();
            Done::Counted(filter, count)
        }
        Request::Search { words } => {
            let filter = store::Filter {
                words: words.replace('\0', "").split_whitespace().map(str::to_owned).collect(),
                ..store::Filter::default()
            };
            let tasks = store::find(place.pool, place.user_id, &filter, Sort::Created, None, TASKS_MAX).await?;
            Done::Found(words, tasks)
        }
        Request::Show { ids } => {
            let tasks = all_tasks(place).await?.into_iter().filter(|task| ids.contains(&task.id)).collect();
            Done::Shown(tasks)
        }
        Request::Next => Done::Next(best(all_tasks(place).await?, now)),
        Request::Help => Done::Helped,
        Request::Thanks => Done::Thanked,
        // Asked by a language model for which there is no key any more.
        Request::Wishes { .. } => {
            Done::Refused("That can't be done any more. Please say in your own words what shall be done.".to_owned())
        }
    };
    Ok(Outcome { done, undo: Vec::new() })
}

async fn fitting(place: Place<'_>, filter: &Filter, now: PrimitiveDateTime) -> Result<Vec<Task>, ApiError> {
    Ok(all_tasks(place).await?.into_iter().filter(|task| filter.fits(&known(task), now)).collect())
}

/// What is overdue or due today comes first, then what is important, then what is due at all, then the oldest.
fn best(tasks: Vec<Task>, now: PrimitiveDateTime) -> Option<(Task, &'static str)> {
    let rank = |task: &Task| {
        let known = known(task);
        match known.due {
            _ if known.is_overdue(now) => (0, "it is overdue"),
            Some(due) if due.date == now.date() => (1, "it is due today"),
            _ if task.priority == crate::tasks::Priority::High => (2, "it has high priority"),
            Some(_) => (3, "nothing else is due before it"),
            None if task.priority == crate::tasks::Priority::Low => (5, "there is nothing more important"),
            None => (4, "it has waited the longest"),
        }
    };
    let key = |task: &Task| (rank(task).0, task.due_on.is_none(), task.due_on, task.due_time, task.id);
    let best = tasks.into_iter().filter(|task| !task.completed).min_by_key(key)?;
    let why = rank(&best).1;
    Some((best, why))
}

async fn add(place: Place<'_>, new: New) -> Result<Outcome, ApiError> {
    let draft = Draft {
        title: one_line(&new.title)?,
        description: new.description,
        completed: false,
        priority: new.priority.unwrap_or_default(),
        due_on: new.due.map(|due| due.date),
        due_time: new.due.and_then(|due| due.time),
        time_zone: Some(place.time_zone.to_owned()),
        tags: valid_tags(&new.tags)?,
    };
    let task = store::create(&mut *place.pool.acquire().await?, place.user_id, &draft, None).await?;
    Ok(Outcome { undo: task.undo.iter().cloned().collect(), done: Done::Added(task) })
}

async fn rename(place: Place<'_>, id: i32, title: &str) -> Result<Outcome, ApiError> {
    let change = store::Change { title: Some(one_line(title)?), ..store::Change::default() };
    let mut transaction = place.pool.begin().await?;
    let before = store::read(&mut transaction, place.user_id, id).await?;
    let task = store::update(&mut transaction, place.user_id, id, &change, None).await?;
    transaction.commit().await?;
    Ok(Outcome { undo: task.undo.iter().cloned().collect(), done: Done::Renamed(task, before.title) })
}

enum Write {
    Complete(bool),
    Delete,
    Change(Change),
}

/// All of them, or none where one fails.
async fn each(place: Place<'_>, write: Write, ids: &[i32]) -> Result<Outcome, ApiError> {
    let mut transaction = place.pool.begin().await?;
    // In one order, so that two of these don't wait for one another.
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let mut tasks = Vec::new();
    for id in ids {
        tasks.push(match &write {
            Write::Complete(completed) => {
                store::set_completed(&mut transaction, place.user_id, id, *completed, None).await?
            }
            Write::Delete => store::delete(&mut transaction, place.user_id, id, None).await?,
            Write::Change(change) => {
                let before = store::read(&mut transaction, place.user_id, id).await?;
                let change = stored(change, &before, place.time_zone)?;
                store::update(&mut transaction, place.user_id, id, &change, None).await?
            }
        });
    }
    transaction.commit().await?;
    // One transaction, and so one for all.
    let undo = tasks.iter().find_map(|task| task.undo.clone()).into_iter().collect();
    let done = match write {
        Write::Complete(true) => Done::Completed(tasks),
        Write::Complete(false) => Done::Reopened(tasks),
        Write::Delete => Done::Deleted(tasks),
        Write::Change(change) => Done::Changed(tasks, change),
    };
    Ok(Outcome { done, undo })
}

fn stored(change: &Change, before: &Task, time_zone: &str) -> Result<store::Change, ApiError> {
    let due = change.due.map(|due| match due {
        NewDue::At(due) => (Some(due.date), due.time),
        NewDue::Never => (None, None),
    });
    let tags = (!change.tags.is_empty()).then(|| valid_tags(&[&before.tags[..], &change.tags].concat())).transpose()?;
    Ok(store::Change {
        priority: change.priority,
        due_on: due.map(|(date, _)| date),
        due_time: due.map(|(_, time)| time),
        time_zone: due.map(|_| time_zone.to_owned()),
        tags,
        ..store::Change::default()
    })
}

/// On one line, and as the API takes it.
fn one_line(title: &str) -> Result<String, ApiError> {
    valid_title(&title.replace(char::is_control, " ")).map(str::to_owned)
}

/// The latest first. It ends at what was changed by somebody else since.
async fn take_back(place: Place<'_>, undo: &[String]) -> Result<Outcome, ApiError> {
    let (mut tasks, mut deleted, mut redo) = (Vec::new(), Vec::new(), Vec::new());
    for token in undo.iter().rev() {
        match tasks::take_back(place.pool, place.user_id, token).await {
            Ok((undone, token)) => {
                tasks.extend(undone.tasks);
                deleted.extend(undone.deleted);
                redo.push(token);
            }
            Err(ApiError::NotFound(_) | ApiError::Conflict(..)) => break,
            Err(other) => return Err(other),
        }
    }
    if redo.is_empty() {
        let reason = if undo.is_empty() {
            "There is nothing to take back."
        } else {
            "That can't be taken back any more: it is too long ago, or was changed since."
        };
        return Ok(refused(reason.to_owned()));
    }
    let all = redo.len() == undo.len();
    Ok(Outcome { done: Done::Undone { tasks, deleted, all }, undo: redo })
}
