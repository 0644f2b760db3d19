-- Version 2: agents, campaigns, quick tests and events.
-- depends: kitt-0001-results

CREATE TABLE agents (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hostname TEXT NOT NULL,
    port INTEGER NOT NULL DEFAULT 8090,
    token TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'offline',
    gpu_info TEXT DEFAULT '',
    gpu_count INTEGER DEFAULT 0,
    cpu_info TEXT DEFAULT '',
    ram_gb INTEGER DEFAULT 0,
    environment_type TEXT DEFAULT '',
    fingerprint TEXT DEFAULT '',
    kitt_version TEXT DEFAULT '',
    last_heartbeat {timestamp},
    registered_at {timestamp} NOT NULL DEFAULT {now},
    notes TEXT DEFAULT '',
    tags TEXT DEFAULT '[]'
);

CREATE TABLE web_campaigns (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT DEFAULT '',
    config_json {json} NOT NULL,
    status TEXT NOT NULL DEFAULT 'draft',
    agent_id TEXT REFERENCES agents (id),
    created_at {timestamp} NOT NULL DEFAULT {now},
    started_at {timestamp},
    completed_at {timestamp},
    total_runs INTEGER DEFAULT 0,
    succeeded INTEGER DEFAULT 0,
    failed INTEGER DEFAULT 0,
    skipped INTEGER DEFAULT 0,
    error TEXT DEFAULT ''
);

CREATE TABLE quick_tests (
    id TEXT NOT NULL PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    model_path TEXT NOT NULL,
    engine_name TEXT NOT NULL,
    benchmark_name TEXT NOT NULL,
    suite_name TEXT DEFAULT 'quick',
    status TEXT NOT NULL DEFAULT 'queued',
    created_at {timestamp} NOT NULL DEFAULT {now},
    started_at {timestamp},
    completed_at {timestamp},
    result_id TEXT REFERENCES runs (id),
    error TEXT DEFAULT ''
);

CREATE TABLE events (
    id {serial},
    event_type TEXT NOT NULL,
    source_id TEXT NOT NULL,
    data {json} NOT NULL,
    created_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE INDEX idx_agents_name ON agents (name);
CREATE INDEX idx_agents_status ON agents (status);
CREATE INDEX idx_web_campaigns_status ON web_campaigns (status);
CREATE INDEX idx_web_campaigns_agent ON web_campaigns (agent_id);
CREATE INDEX idx_quick_tests_agent ON quick_tests (agent_id);
CREATE INDEX idx_quick_tests_status ON quick_tests (status);
CREATE INDEX idx_events_type ON events (event_type);
CREATE INDEX idx_events_source ON events (source_id);
