-- Version 7: what a quick test printed.
-- depends: kitt-0006-quick-test-command

CREATE TABLE quick_test_logs (
    id {serial},
    test_id TEXT NOT NULL REFERENCES quick_tests (id),
    line TEXT NOT NULL,
    created_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE INDEX idx_quick_test_logs_test ON quick_test_logs (test_id);
