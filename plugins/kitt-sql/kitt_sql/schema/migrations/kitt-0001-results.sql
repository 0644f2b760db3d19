-- Version 1: runs with their benchmarks, metrics and hardware.

CREATE TABLE schema_version (
    version INTEGER NOT NULL PRIMARY KEY,
    applied_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    model TEXT,
    engine TEXT,
    suite_name TEXT DEFAULT '',
    timestamp {timestamp},
    passed {boolean} DEFAULT {false},
    total_benchmarks INTEGER DEFAULT 0,
    passed_count INTEGER DEFAULT 0,
    failed_count INTEGER DEFAULT 0,
    total_time_seconds {real} DEFAULT 0.0,
    kitt_version TEXT DEFAULT '',
    raw_json {json},
    created_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE TABLE benchmarks (
    id {serial},
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    test_name TEXT,
    test_version TEXT DEFAULT '1.0.0',
    run_number INTEGER DEFAULT 1,
    passed {boolean} DEFAULT {false},
    timestamp {timestamp},
    created_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE TABLE metrics (
    id {serial},
    benchmark_id INTEGER NOT NULL REFERENCES benchmarks (id) ON DELETE CASCADE,
    metric_name TEXT NOT NULL,
    metric_value {real}
);

CREATE TABLE hardware (
    id {serial},
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    gpu_model TEXT,
    gpu_vram_gb INTEGER,
    gpu_count INTEGER DEFAULT 1,
    cpu_model TEXT,
    cpu_cores INTEGER,
    ram_gb INTEGER,
    environment_type TEXT,
    fingerprint TEXT
);

CREATE INDEX idx_runs_model ON runs (model);
CREATE INDEX idx_runs_engine ON runs (engine);
CREATE INDEX idx_runs_suite_name ON runs (suite_name);
CREATE INDEX idx_runs_timestamp ON runs (timestamp);
CREATE INDEX idx_benchmarks_run_id ON benchmarks (run_id);
CREATE INDEX idx_benchmarks_test_name ON benchmarks (test_name);
CREATE INDEX idx_metrics_benchmark_id ON metrics (benchmark_id);
CREATE INDEX idx_metrics_name ON metrics (metric_name);
CREATE INDEX idx_hardware_run_id ON hardware (run_id);
