-- The release before goes on working on this schema: new columns have defaults or may be null.

ALTER TABLE sessions
    -- The User-Agent at sign-in, shortened.
    ADD COLUMN client text CHECK (char_length(client) <= 200),
    -- Written at most once a minute.
    ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now();

-- Rows belong to a user who is there, or to the one user of AUTH_MODE=none. Without this, a request that was under way
-- while its account was deleted would leave rows that nobody can reach. The lock makes it wait for the deletion.
CREATE FUNCTION require_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.user_id <> 'local' THEN
        PERFORM FROM users WHERE id = NEW.user_id FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE foreign_key_violation USING
                MESSAGE = 'the user of this row does not exist', CONSTRAINT = TG_TABLE_NAME || '_user_exists';
        END IF;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER require_user BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION require_user();

CREATE TRIGGER require_user BEFORE INSERT ON conversations FOR EACH ROW EXECUTE FUNCTION require_user();
