"""The commands of `bets-client`, a module each: `run(options, ...)` is what the command line calls.

They are imported when their command runs, so that `bets-client --help` loads neither the protocol nor its sockets.
"""
