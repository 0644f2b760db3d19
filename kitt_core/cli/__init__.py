"""The command line: arguments in, the service called, values printed.

::

    app          main(): global options, errors, exit codes, signals
    lazy         groups that import a command only when it is called
    invocation   what every command receives: configuration, plugins, the selected store
    filters      the options that select runs
    render       the only place that prints data; cells: how one value is written
    messages     the only place that writes to stderr; progress: bars there
    streams      standard streams that are closed, full or not UTF-8

Every other module is named after its command, and imported only when that is called. This module imports nothing.
"""
