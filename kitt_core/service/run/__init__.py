"""`kitt run` without a command line.

::

    engine_choice   the engine that the user names, with its options
    running         measures the suite, writes the run's directory, stores the run
    signals         Ctrl-C, SIGTERM and SIGHUP during a run: what was measured is kept
    unsaved         where a run is kept that can't be stored, and the messages that say so
"""
