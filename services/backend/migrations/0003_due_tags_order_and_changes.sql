-- The release before goes on working on this schema: every new column has a default, and what must happen with each
-- write is done by triggers, whichever release writes.

ALTER TABLE tasks
    ADD COLUMN due_on date CHECK (due_on BETWEEN '1970-01-01' AND '2999-12-31'),
    ADD COLUMN due_time time,
    -- The zone in which day and time are meant.
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC' CHECK (char_length(time_zone) BETWEEN 1 AND 64),
    -- When it becomes overdue: at its time, or at the end of its day.
    ADD COLUMN due_at timestamptz,
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 20),
    -- The order by hand, the lowest first. A new task comes before the others, without a look at them.
    ADD COLUMN position double precision NOT NULL DEFAULT -extract(epoch FROM clock_timestamp()),
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD CONSTRAINT tasks_due_time_needs_due_on CHECK (due_time IS NULL OR due_on IS NOT NULL);

UPDATE tasks SET position = -extract(epoch FROM created_at);

CREATE INDEX tasks_by_hand ON tasks (user_id, position, id DESC);

CREATE INDEX tasks_by_due ON tasks (user_id, due_at) WHERE due_at IS NOT NULL;

-- What was done to tasks within the last hour: for undo, and for those who watch. A row may be read by watchers once no
-- transaction with a lower number runs; then none can come before it.
CREATE TABLE task_changes (
    transaction_id bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    id bigint GENERATED ALWAYS AS IDENTITY,
    user_id text NOT NULL,
    task_id integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'updated', 'deleted')),
    -- The task's version after the change; before it, where it was deleted.
    version integer NOT NULL,
    -- The row as it was, unless there was none.
    before jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (transaction_id, id)
);

CREATE FUNCTION prepare_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Fails for a zone that there isn't, also where nothing is due.
    PERFORM now() AT TIME ZONE NEW.time_zone;
    NEW.due_at := CASE
        WHEN NEW.due_time IS NULL THEN (NEW.due_on + 1)::timestamp AT TIME ZONE NEW.time_zone
        ELSE (NEW.due_on + NEW.due_time) AT TIME ZONE NEW.time_zone
    END;
    IF TG_OP = 'UPDATE' AND NEW IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER prepare_task BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION prepare_task();

CREATE FUNCTION record_task_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO task_changes (user_id, task_id, kind, version) VALUES (NEW.user_id, NEW.id, 'created', NEW.version);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO task_changes (user_id, task_id, kind, version, before)
        VALUES (OLD.user_id, OLD.id, 'deleted', OLD.version, to_jsonb(OLD));
    ELSIF NEW.version <> OLD.version THEN
        INSERT INTO task_changes (user_id, task_id, kind, version, before)
        VALUES (NEW.user_id, NEW.id, 'updated', NEW.version, to_jsonb(OLD));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER record_task_change AFTER INSERT OR UPDATE OR DELETE ON tasks
FOR EACH ROW EXECUTE FUNCTION record_task_change();

-- An account goes with all that is known of it.
CREATE FUNCTION forget_task_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM task_changes WHERE user_id = OLD.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER forget_task_changes AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION forget_task_changes();
