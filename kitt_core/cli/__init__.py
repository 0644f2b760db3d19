"""The command line: arguments in, the service called, values printed.

::

    app        main(): global options, errors, exit codes, signals
    lazy       groups whose commands are data until one of them is called
    state      what commands are given: configuration, plugins, the store that was asked for
    render     the only place that prints data
    messages   the only place that writes to stderr
    streams    standard streams that are closed, full or not UTF-8
    progress   progress bars

Every other module is one command, imported when it is called. This page imports nothing.
"""
