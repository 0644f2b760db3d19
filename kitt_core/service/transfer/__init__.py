"""Runs into a store, out of it, and from one to another.

::

    importing     files into a store: each document once, by its bytes
    exporting     runs out of a store, in a format
    copying       runs from one store into another, by id
    backup        a store's runs into one archive
    restoring     an archive's runs into a store: checked first, then copied
    attachments   whether a run and its files are what was saved, on their way out
"""
