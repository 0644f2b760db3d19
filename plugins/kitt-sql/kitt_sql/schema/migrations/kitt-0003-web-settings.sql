-- Version 3: settings of the server.
-- depends: kitt-0002-operations

CREATE TABLE web_settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
