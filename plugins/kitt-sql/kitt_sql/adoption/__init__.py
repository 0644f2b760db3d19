"""Databases that KITT 1.x wrote: recognised by what is in them, and moved into our schema with every row.

The old tables are renamed, the migrations create new ones as in an empty database, and every row moves over. So
an adopted database can't differ from a new one, whatever its past. All of it is part of `migrate`'s transaction.
"""
