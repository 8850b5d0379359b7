//! What a sentence asks for, without a language model and without I/O: `understand` is a function of what was said and
//! of what it may refer to.

mod adding;
mod answers;
mod asking;
mod changing;
mod clock;
mod dates;
mod details;
mod filters;
mod references;
mod sentences;
mod small;
mod statements;
mod steps;
mod words;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Date, PrimitiveDateTime, Time};

pub use crate::tasks::Priority;

/// What a sentence may refer to.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// In the user's zone.
    pub now: PrimitiveDateTime,
    pub tasks: &'a [Known],
    /// What was last spoken of, in the order in which it was shown.
    pub spoken: &'a [i32],
    /// What the user was last asked.
    pub pending: Option<&'a Question>,
}

/// A task, as far as sentences can speak of it.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: i32,
    pub title: String,
    pub completed: bool,
    pub priority: Priority,
    pub due: Option<Due>,
    pub tags: Vec<String>,
}

/// A day, or a time on a day, in the user's zone.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Due {
    pub date: Date,
    pub time: Option<Time>,
}

/// One thing to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Add(New),
    List(Filter),
    Count(Filter),
    Search {
        words: String,
    },
    /// All about these.
    Show {
        ids: Vec<i32>,
    },
    Complete {
        ids: Vec<i32>,
    },
    Reopen {
        ids: Vec<i32>,
    },
    Delete {
        ids: Vec<i32>,
    },
    Rename {
        id: i32,
        title: String,
    },
    Change {
        ids: Vec<i32>,
        change: Change,
    },
    /// What to do next.
    Next,
    /// Take back what was last done.
    Undo,
    Help,
    Thanks,
    /// What a language model wants done, all with one tool, and the tasks that it names.
    Wishes {
        ids: Vec<i32>,
        wishes: Vec<Wish>,
    },
}

/// A tool of the MCP server, and what it is given.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Wish {
    pub tool: String,
    pub arguments: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct New {
    pub title: String,
    pub description: Option<String>,
    pub due: Option<Due>,
    pub priority: Option<Priority>,
    pub tags: Vec<String>,
}

/// What is `None` or empty stays as it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Change {
    pub due: Option<NewDue>,
    pub priority: Option<Priority>,
    /// These come to those that are there.
    pub tags: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NewDue {
    At(Due),
    Never,
}

/// Which tasks: those that fit all of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Filter {
    pub completed: Option<bool>,
    /// Due from the first day to the last.
    pub due: Option<(Date, Date)>,
    /// Due before now, and open.
    pub overdue: bool,
    pub priority: Option<Priority>,
    pub tag: Option<String>,
}

/// What must be answered first. It is kept, for the next sentence may be the answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Shall this be done?
    Sure(Request),
    /// Which of these shall it be done to? Of any, where there are no options.
    Which { request: Request, options: Vec<i32> },
    /// What is the title? It is empty in the request.
    What(Request),
    /// When shall these be due?
    When { ids: Vec<i32> },
}

/// What could not be understood or done, in the words of the user.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    Unknown(String),
    /// No task fits.
    Missing(String),
    /// There are more questions than one to ask.
    TooMuch(String),
    /// The question was answered with no.
    Dropped,
}

/// First the requests are carried out, then the problems reported, then the question asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Understanding {
    pub requests: Vec<Request>,
    pub problems: Vec<Problem>,
    pub question: Option<Question>,
}

pub fn understand(said: &str, scene: &Scene) -> Understanding {
    let words = words::split(said);
    let context = references::Context { text: said, scene: *scene, spoken: scene.spoken.to_vec() };
    if let Some(question) = scene.pending
        && let Some(understanding) = answers::answer(question, &words, &context)
    {
        return understanding;
    }
    sentences::understand(&context, &words)
}

impl Due {
    /// Whether it is over. What is due on a day is so once the day is.
    pub fn is_before(self, now: PrimitiveDateTime) -> bool {
        self.date < now.date() || (self.date == now.date() && self.time.is_some_and(|time| time < now.time()))
    }
}

impl Known {
    pub fn is_overdue(&self, now: PrimitiveDateTime) -> bool {
        !self.completed && self.due.is_some_and(|due| due.is_before(now))
    }
}

impl Filter {
    pub fn open() -> Self {
        Self { completed: Some(false), ..Self::default() }
    }

    pub fn fits(&self, task: &Known, now: PrimitiveDateTime) -> bool {
        self.completed.is_none_or(|completed| task.completed == completed)
            && (!self.overdue || task.is_overdue(now))
            && self.priority.is_none_or(|priority| task.priority == priority)
            && self.tag.as_ref().is_none_or(|tag| task.tags.contains(tag))
            && self.due.is_none_or(|(from, to)| task.due.is_some_and(|due| (from..=to).contains(&due.date)))
    }
}

impl Wish {
    /// The task that it is about.
    pub fn id(&self) -> Option<i32> {
        self.arguments.get("id")?.as_i64()?.try_into().ok()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }
}

impl Request {
    /// Wishes of one tool.
    pub fn of_wishes(wishes: Vec<Wish>) -> Self {
        Self::Wishes { ids: wishes.iter().filter_map(Wish::id).collect(), wishes }
    }

    /// The tasks that it names.
    pub fn ids(&self) -> &[i32] {
        match self {
            Self::Show { ids }
            | Self::Complete { ids }
            | Self::Reopen { ids }
            | Self::Delete { ids }
            | Self::Change { ids, .. }
            | Self::Wishes { ids, .. } => ids,
            Self::Rename { id, .. } => std::slice::from_ref(id),
            _ => &[],
        }
    }

    /// The same for other tasks. A title is given to one task only.
    pub fn with_ids(mut self, new: Vec<i32>) -> Option<Self> {
        match &mut self {
            Self::Show { ids }
            | Self::Complete { ids }
            | Self::Reopen { ids }
            | Self::Delete { ids }
            | Self::Change { ids, .. } => *ids = new,
            Self::Rename { id, .. } => match *new {
                [only] => *id = only,
                _ => return None,
            },
            Self::Wishes { ids, wishes } => {
                wishes.retain(|wish| wish.id().is_some_and(|id| new.contains(&id)));
                *ids = new;
            }
            _ => {}
        }
        Some(self)
    }
}
