-- Version 11: engine profiles, as KITT 1.7 has them.
-- depends: kitt-0010-campaign-logs

CREATE TABLE engine_profiles (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    engine TEXT NOT NULL,
    mode TEXT NOT NULL DEFAULT 'docker',
    description TEXT DEFAULT '',
    build_config TEXT DEFAULT '{{}}',
    runtime_config TEXT DEFAULT '{{}}',
    created_at {timestamp} NOT NULL DEFAULT {now},
    updated_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE TABLE agent_engines (
    id {serial},
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    engine TEXT NOT NULL,
    mode TEXT NOT NULL,
    version TEXT DEFAULT '',
    binary_path TEXT DEFAULT '',
    status TEXT DEFAULT 'unknown',
    last_checked {timestamp},
    UNIQUE (agent_id, engine, mode)
);

ALTER TABLE quick_tests ADD COLUMN engine_mode TEXT DEFAULT 'docker';
ALTER TABLE quick_tests ADD COLUMN profile_id TEXT DEFAULT '';

CREATE INDEX idx_engine_profiles_engine ON engine_profiles (engine);
CREATE INDEX idx_agent_engines_agent ON agent_engines (agent_id);
