"""`kitt run` without a command line.

::

    engine_choice   from names and options to an engine
    running         from the engine and a suite to a stored run with its directory
    signals         Ctrl-C, SIGTERM and SIGHUP meanwhile: what was measured is kept
    unsaved         where a run is kept that no store took, and how the user hears of it
"""
