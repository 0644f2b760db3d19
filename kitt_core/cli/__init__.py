"""The command line: arguments in, the service called, values printed.

::

    app          main(): global options, errors, exit codes, signals
    lazy         groups whose commands are data until one of them is called
    invocation   what commands are given: configuration, plugins, the store that was asked for
    filters      the options that say which runs are meant
    render       the only place that prints data; cells: how one value is written
    messages     the only place that writes to stderr; progress: bars there
    streams      standard streams that are closed, full or not UTF-8

Every other module is called as its command, and imported when that is called. This page imports nothing.
"""
