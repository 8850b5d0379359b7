//! What the assistant remembers of a conversation besides its messages: a row of JSON, `agent_state`.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Place, understanding::Question};
use crate::error::ApiError;

#[derive(Debug, Default, PartialEq)]
pub struct Memory {
    /// The tasks that were last spoken of, in the order in which they were shown.
    pub spoken: Vec<i32>,
    /// What the user was asked last.
    pub pending: Option<Question>,
    /// What takes back the last message that changed something, in the order of its changes.
    pub undo: Vec<String>,
}

pub async fn load(place: Place<'_>) -> Result<Memory, ApiError> {
    let state: Option<Value> = sqlx::query_scalar("SELECT state FROM agent_state WHERE conversation_id = $1")
        .bind(place.conversation_id)
        .fetch_optional(place.pool)
        .await?;
    Ok(state.map(|state| read(&state)).unwrap_or_default())
}

pub async fn save(place: Place<'_>, memory: &Memory) -> Result<(), ApiError> {
    // No row where the conversation was deleted meanwhile.
    sqlx::query(
        "INSERT INTO agent_state (conversation_id, state) SELECT id, $2 FROM conversations WHERE id = $1
         ON CONFLICT (conversation_id) DO UPDATE SET state = agent_state.state || excluded.state, updated_at = now()",
    )
    .bind(place.conversation_id)
    .bind(write(memory))
    .execute(place.pool)
    .await?;
    Ok(())
}

/// What can't be read, for another release wrote it, is forgotten.
fn read(state: &Value) -> Memory {
    fn field<T: DeserializeOwned + Default>(state: &Value, name: &str) -> T {
        state.get(name).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
    }
    let last: Option<i32> = field(state, "last_task");
    let spoken: Vec<i32> = field(state, "spoken");
    Memory {
        spoken: if spoken.is_empty() { last.into_iter().collect() } else { spoken },
        pending: field(state, "pending"),
        undo: field(state, "undo"),
    }
}

/// With `last_task`, which the release before reads.
fn write(memory: &Memory) -> Value {
    let last = if let [only] = memory.spoken[..] { Some(only) } else { None };
    json!({"last_task": last, "spoken": memory.spoken, "pending": memory.pending, "undo": memory.undo})
}

#[cfg(test)]
mod tests {
    use super::{super::understanding::Request, *};

    #[test]
    fn what_was_written_is_read() {
        let memory = Memory {
            spoken: vec![2, 1],
            pending: Some(Question::Sure(Request::Delete { ids: vec![1, 2] })),
            undo: vec!["7".to_owned()],
        };
        assert_eq!(read(&write(&memory)), memory);
        assert_eq!(write(&Memory { spoken: vec![3], ..Memory::default() })["last_task"], 3);
    }

    #[test]
    fn the_state_of_another_release_is_read_as_far_as_it_can_be() {
        let of = |spoken: &[i32]| Memory { spoken: spoken.to_vec(), ..Memory::default() };
        assert_eq!(read(&json!({"last_task": 3})), of(&[3]));
        assert_eq!(read(&json!({"spoken": [1, 2], "pending": {"riddle": 1}, "more": true})), of(&[1, 2]));
        assert_eq!(read(&json!({"spoken": "x", "pending": null, "undo": 1})), of(&[]));
    }
}
