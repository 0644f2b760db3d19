"""Moving runs into a store, out of it, and between stores.

::

    importing         files into a store, each document once
    checking_ahead    documents checked by other processes, while an import writes those before
    worker            such a process
    exporting         runs out of a store, in a format
    copying           runs from one store into another, by id
    backup            a store's runs into one archive
    restoring         an archive's runs into a store: checked first, then copied
    reading           checks that a run and its files leave a store as they were saved
"""
