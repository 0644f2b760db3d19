-- Version 13: the metrics of each run rolled up, one metric's next to each other, so that statistics, orders and
-- conditions do not read every measurement; and the indexes that keep lists, counts and groups fast.
-- depends: kitt-0012-documents-and-labels

CREATE TABLE metric_names (
    id {serial},
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE rolled_runs (
    id {serial},
    run_id TEXT NOT NULL UNIQUE REFERENCES runs (id) ON DELETE CASCADE,
    name_ids TEXT NOT NULL,
    last_metric_id INTEGER NOT NULL
);

CREATE TABLE metric_rollup (
    name_id INTEGER NOT NULL,
    rolled_id INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    total {real} NOT NULL,
    least {real} NOT NULL,
    greatest {real} NOT NULL,
    mean {real} NOT NULL,
    numbers {bytes},
    PRIMARY KEY (name_id, rolled_id)
){keyed};

CREATE INDEX idx_metric_rollup_mean ON metric_rollup (name_id, mean, rolled_id);
CREATE INDEX idx_runs_model_engine_passed_timestamp ON runs (model, engine, passed, timestamp);
{sqlite}CREATE INDEX idx_runs_columns ON runs (id, model, engine, suite_name, timestamp, passed, kitt_version);
