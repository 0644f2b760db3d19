"""What the command line does, independent of the command line.

::

    run/               measuring an engine and storing the result: `kitt run`
    transfer/          moving runs into a store, out of it, and between stores
    comparing          two runs side by side
    run_lookup         finding the run that the user names
    unknown_metrics    metrics that no stored run has
    doctor             what is installed, and what is wrong
    effective_config   each setting, and where it came from

Functions take a store, a plugin manager or plain values, and return values; progress is reported by callback.
Nothing here knows about terminals; hints name the options of ``kitt``, because that is where most users see them.
"""
