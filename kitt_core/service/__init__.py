"""What the command line does, without a command line.

::

    run/               an engine measured and its result stored: `kitt run`
    transfer/          runs into a store, out of it, and from one to another
    comparing          two runs side by side
    run_lookup         from what a user typed to the run that is meant
    doctor             what is installed, and what is wrong
    effective_config   each setting, and where it came from

A store, a plugin manager or plain values go in, values come out; progress is a callback. Nothing here knows of
terminals or exit codes; hints name the options of ``kitt``, because that is where most readers are.
"""
