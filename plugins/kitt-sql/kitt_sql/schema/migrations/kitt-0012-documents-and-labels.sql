-- Version 12: the document's digest (and its bytes where raw_json can't be verbatim), labels, and the indexes
-- that keep "the newest of this model" and "the newest of this engine" fast however many runs there are.
-- depends: kitt-0011-engine-profiles

CREATE TABLE run_documents (
    run_id TEXT NOT NULL PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    document {bytes}{position}
){keyed};

CREATE TABLE run_labels (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
){keyed};

CREATE INDEX idx_run_documents_sha256 ON run_documents (sha256);
CREATE INDEX idx_run_labels_key_value ON run_labels (key, value);
CREATE INDEX idx_runs_model_timestamp ON runs (model, timestamp);
CREATE INDEX idx_runs_engine_timestamp ON runs (engine, timestamp);
