"""KITT's default backend, runs in a SQLite file: `kitt_sqlite.store` is the store."""
