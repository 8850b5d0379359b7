-- The release before goes on working on this schema: every new column has a default or may be null, and what must happen
-- with each write is done by a trigger, whichever release writes.

ALTER TABLE conversations
    -- As the user named it; else it goes by its first message.
    ADD COLUMN title text CHECK (char_length(title) BETWEEN 1 AND 200),
    -- When something was said in it last.
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

UPDATE conversations SET updated_at = greatest(
    created_at,
    (SELECT max(messages.created_at) FROM messages WHERE messages.conversation_id = conversations.id)
);

CREATE INDEX conversations_by_activity ON conversations (user_id, updated_at DESC, id DESC);

ALTER TABLE messages
    -- Made by the client, so that a message that is sent again is not said again.
    ADD COLUMN key text CHECK (char_length(key) BETWEEN 1 AND 64),
    -- Of an answer: what it answers.
    ADD COLUMN reply_to integer REFERENCES messages (id) ON DELETE CASCADE,
    -- Of a message: until when its answer is under way. Null where it is not, or has failed with nothing done.
    ADD COLUMN answered_by timestamptz,
    -- Of an answer: what was done.
    ADD COLUMN tool_calls jsonb NOT NULL DEFAULT '[]',
    -- Of an answer: whether it is less than the whole.
    ADD COLUMN stopped boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX messages_key ON messages (conversation_id, key) WHERE key IS NOT NULL;

CREATE UNIQUE INDEX messages_reply_to ON messages (reply_to) WHERE reply_to IS NOT NULL;

-- When the user last wanted an answer to end; every replica sees it.
ALTER TABLE conversations ADD COLUMN stopped_at timestamptz;

CREATE FUNCTION record_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversations SET updated_at = now() WHERE id = NEW.conversation_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER record_activity AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION record_activity();
