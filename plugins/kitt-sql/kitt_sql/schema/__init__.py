"""The schema: its tables, the migrations that make them, and the state that a database's is in."""
