CREATE TABLE users (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    email text NOT NULL UNIQUE CHECK (email = lower(email)),
    name text CHECK (char_length(name) <= 200),
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A token is good for as long as its session is here.
CREATE TABLE sessions (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_id);

-- Tasks get numbers, the oldest the lowest; those from before there were users belong to the one of AUTH_MODE=none.
DROP INDEX tasks_newest_first;

ALTER TABLE tasks DROP CONSTRAINT tasks_pkey;

ALTER TABLE tasks RENAME COLUMN id TO old_id;

ALTER TABLE tasks ADD COLUMN id integer;

UPDATE tasks
SET id = numbered.id
FROM (SELECT old_id, row_number() OVER (ORDER BY created_at, old_id) AS id FROM tasks) AS numbered
WHERE tasks.old_id = numbered.old_id;

ALTER TABLE tasks
    DROP COLUMN old_id,
    ALTER COLUMN id SET NOT NULL,
    ADD PRIMARY KEY (id),
    ADD COLUMN priority text NOT NULL DEFAULT 'medium' CHECK (priority IN ('low', 'medium', 'high')),
    ADD COLUMN user_id text NOT NULL DEFAULT 'local';

ALTER TABLE tasks ALTER COLUMN user_id DROP DEFAULT;

ALTER TABLE tasks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;

SELECT setval(pg_get_serial_sequence('tasks', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM tasks), false);

CREATE INDEX tasks_newest_first ON tasks (user_id, created_at DESC, id DESC);

CREATE TABLE conversations (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX conversations_of_user ON conversations (user_id, id DESC);

CREATE TABLE messages (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id integer NOT NULL REFERENCES conversations ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('user', 'assistant')),
    content text NOT NULL CHECK (char_length(content) BETWEEN 1 AND 20000),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX messages_of_conversation ON messages (conversation_id, id);

-- What the assistant remembers of a conversation besides its messages.
CREATE TABLE agent_state (
    conversation_id integer PRIMARY KEY REFERENCES conversations ON DELETE CASCADE,
    state jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(state) = 'object'),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- The names under which some know the same rows. Both are simple enough to be written through.
CREATE VIEW chat_sessions AS SELECT id, user_id, created_at FROM conversations;

CREATE VIEW chat_messages AS
SELECT id, conversation_id AS session_id, role, content, created_at FROM messages;
