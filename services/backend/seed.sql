-- `cargo xtask db seed`: a list that looks lived in. It is the user's of a deployment without accounts, or of the account that
-- was made first. Run twice, it adds twice.

INSERT INTO tasks (user_id, title, description, priority, completed, due_on, due_time, time_zone, tags)
SELECT owner.id, task.title, task.description, task.priority, task.completed, current_date + task.days, task.at_time, 'UTC', task.tags
FROM
    (SELECT coalesce((SELECT id FROM users ORDER BY created_at, id LIMIT 1), 'local') AS id) AS owner,
    (VALUES
        ('Buy oat milk', NULL, 'medium', false, 0, NULL, '{errands}'::text[]),
        ('Call mum', 'Ask about the garden.', 'high', false, 1, '17:00'::time, '{family}'),
        ('Pay the rent', NULL, 'high', false, -1, NULL, '{money}'),
        ('Renew the passport', 'Two pictures, the old passport, 60 in cash.', 'medium', false, 21, NULL, '{}'),
        ('Read the chapter about probes', NULL, 'low', false, NULL::integer, NULL, '{study}'),
        ('Book the train to Lisbon', NULL, 'medium', true, 5, NULL, '{travel}')
    ) AS task (title, description, priority, completed, days, at_time, tags);
