"""What the command line does, without a command line: import, export, find a run by a part of its id.

A store, a plugin manager or plain values go in, values come out; progress is a callback. Nothing here knows of
terminals or exit codes; hints name the options of ``kitt``, because that is where most readers are.
"""
