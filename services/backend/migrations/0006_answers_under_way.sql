-- The release before goes on working on this schema. Before anything is said, the answers of its conversation that are under
-- way are looked for: few, however long the conversation is.
CREATE INDEX messages_under_way ON messages (conversation_id) WHERE answered_by IS NOT NULL;
